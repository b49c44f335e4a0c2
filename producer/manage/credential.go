package manage

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/spatial-flow/spatial-flow/flow"
)

const (
	variable     = "SPATIALFLOW_CREDENTIAL_"
	fileVariable = variable + "FILE" // that of --credential-file
)

var (
	// ErrCredential is returned, without the secret, for what is no credential.
	ErrCredential = errors.New("bad credential")
	// ErrUnknown is returned when there is no credential of that name.
	ErrUnknown = errors.New("credential not known here")
	// ErrElsewhere is returned when a credential is for other addresses.
	ErrElsewhere = errors.New("credential is for other addresses")
)

// Credential is who asks a camera. It is printed as nothing.
type Credential struct {
	user, password string
	addresses      *Pattern // where it may be sent to; nil: whatever is allowed
}

// String hides the secret from whoever prints it.
func (Credential) String() string { return "…" }

// GoString hides it too.
func (Credential) GoString() string { return "…" }

// User and Password are what the camera is told.
func (c Credential) User() string     { return c.user }
func (c Credential) Password() string { return c.password }

// Credentials are those of --credential-file by their names; the environment has more. One that is not in the file is looked for there.
type Credentials struct {
	file   map[string]Credential
	lookup func(variable string) (string, bool)
}

// pattern is what stands before user:password when a credential is for some addresses alone.
var pattern = regexp.MustCompile(`^(?:rtsps?|https?|\*)://\S*(?:\s|$)`)

func parseCredential(text string) (Credential, error) {
	var c Credential
	if where := strings.TrimSpace(pattern.FindString(text)); where != "" {
		addresses, err := ParsePattern(where)
		if err != nil {
			return c, err
		}
		c.addresses, text = &addresses, strings.TrimLeft(text[len(where):], " \t")
	}
	user, password, found := strings.Cut(text, ":")
	if !found || user == "" && password == "" {
		return c, fmt.Errorf("%w: it is NAME user:password, or NAME rtsp://10.0.0.* user:password", ErrCredential)
	}
	c.user, c.password = user, password
	return c, nil
}

// ParseCredentials reads --credential-file: a credential a line, as NAME user:password, or NAME PATTERN user:password for one that is sent
// to no other address; empty lines, and those that begin with #, are passed over. A password is taken as it stands, up to the end of the line. What is wrong
// is told with its line, and the others hold.
func ParseCredentials(data []byte) (Credentials, []error) {
	c, errs, number := Credentials{map[string]Credential{}, os.LookupEnv}, []error(nil), 0
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\ufeff")) {
		number++
		line = strings.TrimLeft(strings.TrimRight(line, "\r\n"), " \t")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, rest := line, ""
		if i := strings.IndexAny(line, " \t"); i >= 0 {
			name, rest = line[:i], strings.TrimLeft(line[i:], " \t")
		}
		one, err := parseCredential(rest)
		switch _, twice := c.file[name]; {
		case flow.ValidToken("credential", name) != nil: // it may be a password: it is not shown
			err = fmt.Errorf("%w: it begins with no name of letters, digits, - and _", ErrCredential)
		case err == nil && twice:
			err = fmt.Errorf("%w: %s is there twice", ErrCredential, name)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", number, err))
			continue
		}
		c.file[name] = one
	}
	return c, errs
}

// Of is the credential of a name, for a URI. [ErrUnknown] or [ErrElsewhere] is returned, with what mends it, when it is not to be had.
func (c Credentials) Of(name, uri string) (Credential, error) {
	one, there := c.file[name]
	if !there && c.lookup != nil {
		in := variable + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		if text, set := c.lookup(in); set && in != fileVariable {
			var err error
			if one, err = parseCredential(text); err != nil {
				return Credential{}, fmt.Errorf("%w: %s is not user:password", ErrUnknown, in)
			}
			there = true
		}
	}
	switch {
	case !there:
		return Credential{}, fmt.Errorf("%w: put %s into --credential-file", ErrUnknown, name)
	case one.addresses != nil && !one.addresses.Match(uri):
		return Credential{}, fmt.Errorf("%w: %s is for %s alone", ErrElsewhere, name, one.addresses)
	}
	return one, nil
}
