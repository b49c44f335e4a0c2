// Package configured is the sources that are configured at run time: what is said of one, where all of them are kept, and how one is
// asked for. No secret is in any of it: a source has the name of its credential, which producers know.
package configured

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/address"
)

// Bounds of what is configured.
const (
	MostSources = 256      // of a deployment
	MaxURI      = 1024     // bytes
	MaxMessage  = 64 << 10 // bytes of a request, an answer, or what is sent to the gateway
	maxObject   = 1 << 20  // bytes of the whole
	maxNumber   = 1 << 20  // a setting: producers bound them further
)

// version is that of the object and of requests.
const version = 1

var (
	// ErrSource is returned, naming the field, when a source can't be meant.
	ErrSource = errors.New("bad source")
	// ErrMessage is returned for bytes that are no object, request or answer.
	ErrMessage = errors.New("malformed message")
	// ErrNewer is returned for an object or a request of a version that this program does not know.
	ErrNewer = errors.New("of a newer version")
)

// Source is a source that is configured, but for its name.
type Source struct {
	URI        string    `json:"uri"`                  // of a camera on the network, without user and password; or street:…
	Credential string    `json:"credential,omitempty"` // name of the user and password that it is asked with; empty: none
	Settings   Settings  `json:"settings,omitzero"`
	Changed    time.Time `json:"changed,omitzero"` // when it was made, or changed last; who configures does not say it
}

// Settings are a source's own.
type Settings = api.SourceSettings

// ParseSource reads what is sent to the gateway. [ErrSource] is returned, naming the field, when it is none.
func ParseSource(data []byte) (Source, error) {
	var s Source
	if err := decode(data, MaxMessage, &s, true); err != nil {
		return Source{}, fmt.Errorf("%w: %w", ErrSource, err)
	}
	if !s.Changed.IsZero() {
		return Source{}, fmt.Errorf("%w: changed: it is told, not given", ErrSource)
	}
	return s, s.Validate()
}

// ValidName returns [ErrSource] when no source can be called so: it is no name, or a gateway's.
func ValidName(name string) error {
	if err := flow.ValidToken("name", name); err != nil {
		return fmt.Errorf("%w: %w", ErrSource, err)
	}
	if strings.HasPrefix(name, flow.PredictPrefix) {
		return fmt.Errorf("%w: name: those that begin with %s are the gateways'", ErrSource, flow.PredictPrefix)
	}
	return nil
}

// Validate returns [ErrSource], naming the field and what mends it, when the source can't be meant by anybody. What it quotes holds no
// secret.
func (s *Source) Validate() error {
	if err := validURI(s.URI); err != nil {
		return fmt.Errorf("%w: uri: %w", ErrSource, err)
	}
	if s.Credential != "" {
		if err := flow.ValidToken("credential", s.Credential); err != nil {
			return fmt.Errorf("%w: credential: it is a name of letters, digits, - and _, at most 64, that producers know; not the password itself", ErrSource)
		}
		if !address.IsCamera(s.URI) {
			return fmt.Errorf("%w: credential: only cameras are asked with one", ErrSource)
		}
	}
	switch v := s.Settings; {
	case !(v.FPS >= 0 && v.FPS <= maxNumber):
		return fmt.Errorf("%w: settings.fps: %v is not 0 to 1000", ErrSource, v.FPS)
	case v.MaxSide < 0 || v.MaxSide > maxNumber:
		return fmt.Errorf("%w: settings.max_side: %d pixels are neither 0 nor 32 to %d", ErrSource, v.MaxSide, maxNumber)
	case v.Quality < 0 || v.Quality > 100:
		return fmt.Errorf("%w: settings.quality: %d is not 1 to 100", ErrSource, v.Quality)
	case len(v.Decode) > 16:
		return fmt.Errorf("%w: settings.decode: it is auto, all or keys", ErrSource)
	}
	return nil
}

func validURI(uri string) error {
	switch {
	case uri == "":
		return errors.New("it is missing: give that of a camera, as rtsp://10.0.0.7/stream")
	case len(uri) > MaxURI:
		return fmt.Errorf("it has %d bytes, at most %d", len(uri), MaxURI)
	case !utf8.ValidString(uri) || strings.ContainsFunc(uri, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }):
		return errors.New("it holds blanks, or what is no text: write %20 for a blank")
	case strings.HasPrefix(uri, "street:") && !strings.ContainsAny(uri, "@#$"):
		return nil
	case !address.IsCamera(uri):
		return errors.New("it is no camera on a network: give rtsp://, rtsps://, http:// or https://; files, folders and devices are for --source alone")
	case strings.Contains(uri, "${"):
		return errors.New("it names a variable of the environment: these are for --source alone; give the name of a credential")
	case strings.Contains(uri, "#"):
		return errors.New("it holds a #: give the settings beside it")
	case strings.Contains(uri, "@"):
		return errors.New("it holds a user or a password: give the name of a credential instead (an @ of the path is written %40)")
	case address.NamesSecret(uri):
		return errors.New("it holds what looks like a password: give the name of a credential instead, or, where the camera knows no other way, use --source-file")
	}
	if _, err := address.Parse(uri, func(string) (string, bool) { return "", false }); err != nil {
		return errors.New("behind :// there is no host, or host:port")
	}
	return nil
}

// same says whether two sources are configured in the same way.
func (s *Source) same(other Source) bool {
	verify := func(v *bool) bool { return v == nil || *v }
	a, b := s.Settings, other.Settings
	sameVerify := (a.Verify == nil) == (b.Verify == nil) && verify(a.Verify) == verify(b.Verify)
	a.Verify, b.Verify = nil, nil
	return s.URI == other.URI && s.Credential == other.Credential && a == b && sameVerify
}

// object is all sources of a deployment, as they are kept.
type object struct {
	Version int               `json:"version"`
	Sources map[string]Source `json:"sources"`
}

func parseObject(data []byte) (map[string]Source, error) {
	var o object
	if err := decode(data, maxObject, &o, false); err != nil {
		return nil, fmt.Errorf("configured sources: %w", err)
	}
	if o.Version > version {
		return nil, fmt.Errorf("configured sources: %w: %d", ErrNewer, o.Version)
	}
	if len(o.Sources) > MostSources {
		return nil, fmt.Errorf("%w: %d configured sources, at most %d", ErrMessage, len(o.Sources), MostSources)
	}
	for name, s := range o.Sources {
		if err := errors.Join(ValidName(name), s.Validate()); err != nil {
			return nil, fmt.Errorf("%w: configured source %.64q: %w", ErrMessage, name, err)
		}
	}
	return o.Sources, nil
}

// Op is what is asked for.
type Op string

const (
	OpPut    Op = "put"
	OpDelete Op = "delete"
)

// Request asks for a source to be configured, or not to be any more.
type Request struct {
	Version int    `json:"version"`
	Op      Op     `json:"op"`
	Name    string `json:"name"`
	Source  Source `json:"source,omitzero"` // of a put
}

// ParseRequest returns [ErrMessage], [ErrNewer] or [ErrSource] when nothing is asked for.
func ParseRequest(data []byte) (Request, error) {
	var r Request
	if err := decode(data, MaxMessage, &r, false); err != nil {
		return r, err
	}
	if r.Version != version {
		return r, fmt.Errorf("request: %w: %d; update the producer", ErrNewer, r.Version)
	}
	if r.Op != OpPut && r.Op != OpDelete {
		return r, fmt.Errorf("%w: op %.16q is neither put nor delete", ErrMessage, r.Op)
	}
	if err := ValidName(r.Name); err != nil {
		return r, err
	}
	if r.Op == OpPut {
		return r, r.Source.Validate()
	}
	return r, nil
}

// Code says what became of a request, as HTTP codes do.
type Code int

const (
	CodeSame        Code = 200 // or changed, or deleted
	CodeMade        Code = 201
	CodeBad         Code = 400 // the source can't be meant
	CodeNotAllowed  Code = 403 // by --allow-source
	CodeNotFound    Code = 404
	CodeTaken       Code = 409 // or there are too many
	CodeUnavailable Code = 503 // nobody answers, or NATS does not
)

// Answer is what a producer says to a request.
type Answer struct {
	Code  Code   `json:"code"`
	Error string `json:"error,omitempty"` // why not
}

// ParseAnswer returns [ErrMessage] when it is none.
func ParseAnswer(data []byte) (Answer, error) {
	var a Answer
	if err := decode(data, MaxMessage, &a, false); err != nil {
		return a, err
	}
	if a.Code < CodeSame || a.Code > 599 || len(a.Error) > maxError {
		return a, fmt.Errorf("%w: answer with code %d and an error of %d bytes", ErrMessage, a.Code, len(a.Error))
	}
	return a, nil
}

const maxError = 2048 // bytes

// encode writes URIs as they are: no page is made of it.
func encode(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), nil
}

// decode reads one JSON value. strict refuses keys that are not known: who writes them means something by it.
func decode(data []byte, most int, value any, strict bool) error {
	if len(data) > most {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrMessage, len(data), most)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	if strict {
		decoder.DisallowUnknownFields()
	}
	if err := decoder.Decode(value); err != nil {
		return fmt.Errorf("%w: %w", ErrMessage, plain(err))
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: there is more than one JSON value", ErrMessage)
	}
	return nil
}

// plain says in the words of who sent it what is wrong with JSON.
func plain(err error) error {
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Errorf("%s: a JSON %.32s is no %s", kind.Field, kind.Value, wanted(kind.Type.String()))
	case errors.Is(err, io.EOF):
		return errors.New("it is empty: send JSON, as {\"uri\":\"rtsp://10.0.0.7/stream\"}")
	}
	return errors.New(strings.TrimPrefix(address.RedactText(err.Error()), "json: "))
}

func wanted(kind string) string {
	switch kind {
	case "float64", "int":
		return "number" + map[bool]string{true: " without a fraction"}[kind == "int"]
	case "bool":
		return "true or false"
	case "string":
		return "text"
	}
	return "object"
}
