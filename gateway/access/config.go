// Package access says who asks the gateway and what that one may: by tokens that a file names, or without one.
//
// A token is a secret text; the file has its SHA-256. Who has one is a [Caller], which ends when the token is withdrawn, expires, or may
// something else.
package access

import (
	"fmt"
	"net"
	"slices"
	"strings"
)

// Right is what one may do.
type Right string

// Rights that a token has.
const (
	View    Right = "view"    // scenes, pictures and depth maps of the sources that it sees
	Predict Right = "predict" // pictures of its own
	Status  Right = "status"  // how services do
	Manage  Right = "manage"  // configure the sources that it sees
)

// Rights are all there are.
var Rights = []Right{View, Predict, Status, Manage}

// Config is the settings of who may ask.
type Config struct {
	Tokens    string   `placeholder:"FILE" help:"Who may ask, and what: a file of tokens (YAML, made by spatialflow token new), read again when it changes. Without it the gateway is open on a loopback address, and starts on no other."`
	Anonymous []string `placeholder:"RIGHT" help:"What those without a token may: view, predict, status, manage, separated by commas; of all sources."`
}

// Validate returns [ErrConfig], with the way out, when the settings make no sense for a gateway that listens there.
func (c Config) Validate(listen string) error {
	for _, right := range c.Anonymous {
		if !slices.Contains(Rights, Right(right)) {
			return fmt.Errorf("%w: --anonymous %.40q: there are view, predict, status and manage", ErrConfig, right)
		}
	}
	switch {
	case tokenText.MatchString(c.Tokens):
		return fmt.Errorf("%w: --tokens is given a token itself, which others may have seen now: want the file that has its SHA-256 (spatialflow token new --tokens FILE)", ErrConfig)
	case Loopback(listen):
		return nil
	case slices.Contains(c.Anonymous, string(Manage)):
		return fmt.Errorf("%w: --http %s is reached by others: whoever configures sources there needs a token that may (--tokens), so --anonymous can't have manage", ErrConfig, listen)
	case c.Tokens == "" && len(c.Anonymous) == 0:
		return fmt.Errorf("%w: --http %s is reached by others, who would see every source: say who may by --tokens FILE (spatialflow token new makes one), or what everybody may by --anonymous view,predict, or give a loopback address, as 127.0.0.1:8000", ErrConfig, listen)
	}
	return nil
}

// Open says that everybody may everything: nothing is set.
func (c Config) Open() bool { return c.Tokens == "" && len(c.Anonymous) == 0 }

// Loopback says whether an address to listen at is reached from this machine alone.
func Loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	ip := net.ParseIP(host)
	return err == nil && (strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback())
}
