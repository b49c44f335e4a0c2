package source

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/address"
	"github.com/spatial-flow/spatial-flow/flow/configured"
	"github.com/spatial-flow/spatial-flow/producer/source/coded"
	"github.com/spatial-flow/spatial-flow/producer/street"
)

const maxName = 64 // characters of a source's name

// Spec is one --source, taken apart.
type Spec struct {
	Name   string
	path   string           // of a file or a folder
	street *street.Config   // instead of a path, when the pictures are generated
	camera *address.Address // instead of a path: a camera on the network, with its credentials
	device *int             // instead of a path: the number of a camera device
	URI    string           // as it is shown: without credentials

	redirects func(*url.URL) bool // whether a camera may redirect there; nil: anywhere

	Settings Settings
}

func (s *Spec) IsCamera() bool { return s.camera != nil || s.device != nil }

// File is the name of the file, if it is one, that all pictures of the source are in, as [flow.FileName] writes it.
func (s *Spec) File() string {
	if info, err := os.Stat(s.path); s.path == "" || err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return flow.FileName(filepath.Base(s.path))
}

// Mode is what the settings say, else lossless for files, and live for what has no end.
func (s *Spec) Mode() flow.Mode {
	switch {
	case s.Settings.Mode != "":
		return s.Settings.Mode
	case s.street != nil || s.IsCamera():
		return flow.ModeLive
	}
	return flow.ModeLossless
}

// Status is what there is to say of it before it is open.
func (s *Spec) Status() flow.SourceStatus {
	return flow.SourceStatus{Source: s.Name, URI: s.URI, Mode: s.Mode()}
}

// base is what the source is called when it is given no name.
func (s *Spec) base() string {
	switch {
	case s.street != nil:
		return strings.TrimSuffix(street.Scheme, ":")
	case s.device != nil:
		return "camera"
	case s.camera != nil:
		return defaultName(streamPath(s.URI)) // without credentials, wherever they stood
	}
	return defaultName(s.path)
}

// Parse takes every --source apart and gives those without a name one of their own.
// [ErrConfig], [ErrName] or [ErrUnsupported] is returned when one of them can't be meant.
func Parse(args []string, defaults Settings) ([]Spec, error) {
	specs, errs := ParseBeside(args, defaults, nil)
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return specs, nil
}

// ParseBeside is Parse for sources beside others, whose names are taken, and tells of each what is wrong with it.
func ParseBeside(args []string, defaults Settings, names []string) ([]Spec, []error) {
	specs, errs, taken := make([]Spec, len(args)), make([]error, len(args)), map[string]bool{}
	for _, name := range names {
		taken[name] = true
	}
	for i, arg := range args {
		if specs[i], errs[i] = parseNamed(arg, defaults, taken); errs[i] == nil {
			taken[specs[i].Name] = true
		}
	}
	for i := range specs {
		if errs[i] == nil && specs[i].Name == "" {
			specs[i].Name = freeName(strings.TrimPrefix(specs[i].base(), flow.PredictPrefix), taken)
			taken[specs[i].Name] = true
		}
	}
	return specs, errs
}

// parseNamed takes one --source apart, which may have no name that is taken.
func parseNamed(arg string, defaults Settings, taken map[string]bool) (Spec, error) {
	s, err := parseSource(arg, defaults)
	if err != nil {
		return Spec{}, err
	}
	if strings.HasPrefix(s.Name, flow.PredictPrefix) {
		return Spec{}, fmt.Errorf("%w: --source %s: names that begin with %s are the gateways'", ErrName, address.Redact(arg), flow.PredictPrefix)
	}
	if s.Name != "" && taken[s.Name] {
		return Spec{}, fmt.Errorf("%w: --source %s: the name %q is given twice", ErrName, address.Redact(arg), s.Name)
	}
	return s, nil
}

func parseSource(arg string, defaults Settings) (Spec, error) {
	name, uri, err := splitName(arg)
	if err != nil {
		return Spec{}, err
	}
	s := Spec{Name: name, Settings: defaults}
	if before, fragment, found := cutFragment(uri); found && !exists(uri) {
		uri = before
		if s.Settings, err = defaults.with(fragment); err != nil {
			return Spec{}, fmt.Errorf("%w: --source %s: %w", ErrConfig, address.Redact(uri), err)
		}
	}
	if s.URI = address.Redact(uri); exists(uri) { // it is a name, and no secret
		s.URI = address.Shorten(uri)
	}
	if err := s.locate(uri); err != nil {
		return Spec{}, err
	}
	if info, err := os.Stat(s.path); s.Settings.Watch && (s.path == "" || err != nil || !info.IsDir()) {
		return Spec{}, fmt.Errorf("%w: --source %s: watch=true is for a folder that is there", ErrConfig, s.URI)
	}
	if web := s.camera != nil && strings.HasPrefix(s.camera.Scheme, "http"); s.Mode() == flow.ModeLossless && s.IsCamera() && !web { // there may be a film
		return Spec{}, fmt.Errorf("%w: --source %s: a camera does not wait, so its mode is live", ErrConfig, s.URI)
	}
	return s, nil
}

// Configured is a source that is configured at run time: a camera on the network, or a generated street, and nothing local. It is live.
// user and password are those that a camera is asked with, redirects says where it may redirect to. What the settings leave out is as the
// defaults say. [ErrConfig] is returned, naming what is wrong, when it can't be meant.
func Configured(name string, c configured.Source, defaults Settings, user, password string, redirects func(*url.URL) bool) (Spec, error) {
	if err := errors.Join(configured.ValidName(name), c.Validate()); err != nil {
		return Spec{}, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	s := Spec{Name: name, URI: address.Redact(c.URI), Settings: defaults, redirects: redirects}
	s.Settings.Mode, s.Settings.Watch, s.Settings.Trust = flow.ModeLive, false, c.Settings.Verify != nil && !*c.Settings.Verify
	s.Settings.FPS = cmp.Or(c.Settings.FPS, s.Settings.FPS)
	s.Settings.MaxSide = cmp.Or(c.Settings.MaxSide, s.Settings.MaxSide)
	s.Settings.Quality = cmp.Or(c.Settings.Quality, s.Settings.Quality)
	s.Settings.Decode = cmp.Or(coded.Decode(c.Settings.Decode), s.Settings.Decode)
	if err := s.Settings.Validate(); err != nil {
		return Spec{}, fmt.Errorf("%w: settings: %w", ErrConfig, err)
	}
	if address.IsCamera(c.URI) {
		camera, err := address.Parse(c.URI, func(string) (string, bool) { return "", false })
		if err != nil {
			return Spec{}, fmt.Errorf("%w: uri: %w", ErrConfig, err)
		}
		camera.User, camera.Password = user, password
		s.camera = &camera
		return s, nil
	}
	cfg, err := street.Parse(c.URI)
	if err != nil {
		return Spec{}, fmt.Errorf("%w: uri: %w", ErrConfig, err)
	}
	s.street = &cfg
	return s, nil
}

// locate says where the pictures are.
func (s *Spec) locate(uri string) error {
	if exists(uri) && !strings.HasPrefix(uri, "/dev/") {
		s.path = uri
		return nil
	}
	if strings.HasPrefix(uri, street.Scheme) {
		cfg, err := street.Parse(uri)
		if err != nil {
			return fmt.Errorf("%w: --source %s: %w", ErrConfig, s.URI, err)
		}
		s.street = &cfg
		return nil
	}
	if address.IsCamera(uri) {
		camera, err := address.Parse(uri, os.LookupEnv)
		if err != nil {
			return fmt.Errorf("%w: --source %s: %w", ErrConfig, s.URI, err)
		}
		s.camera = &camera
		return nil
	}
	if number, ok := device(uri); ok {
		s.device = &number
		return nil
	}
	path, err := localPath(uri)
	s.path = path
	return err
}

// cutFragment cuts settings off. What follows the last # is a fragment when it looks like settings: a file may have a #
// in its name.
func cutFragment(uri string) (before, fragment string, found bool) {
	i := strings.LastIndexByte(uri, '#')
	if i < strings.LastIndexByte(uri, '@') {
		return uri, "", false // it is part of a password, or of a name
	}
	if i < 0 || !strings.Contains(uri[i:], "=") {
		return uri, "", false
	}
	return uri[:i], uri[i+1:], true
}

// streamPath is what a stream is named after: the path of its URL, or its host.
func streamPath(stream string) string {
	u, err := url.Parse(stream)
	if err != nil {
		return "stream"
	}
	if path := strings.Trim(u.Path, "/"); path != "" {
		return path
	}
	return strings.ReplaceAll(u.Hostname(), ".", "-")
}

// splitName cuts NAME= off. A path that is there is meant as it stands, whatever it holds.
func splitName(arg string) (name, uri string, err error) {
	before, after, found := strings.Cut(arg, "=")
	if !found || strings.HasPrefix(arg, street.Scheme) || strings.Contains(before, "://") || exists(arg) {
		return "", arg, nil
	}
	if err := flow.ValidToken("source", before); err != nil {
		if strings.ContainsAny(before, ":@") { // part of a password, perhaps
			err = fmt.Errorf("%w: what stands before = is no name, and no camera", ErrName)
		}
		if exists(after) || strings.Contains(after, "://") { // what follows may hold a password: it is no path
			return "", "", fmt.Errorf("%w: --source %s: %w", ErrName, address.Redact(arg), err)
		}
		return "", arg, nil
	}
	return before, after, nil
}

// localPath is the path that a URI names. [ErrUnsupported] is returned when it is none.
func localPath(uri string) (string, error) {
	if uri == "" {
		return "", fmt.Errorf("%w: an empty --source", ErrConfig)
	}
	if exists(uri) {
		return uri, nil
	}
	if rest, ok := strings.CutPrefix(uri, "file://"); ok {
		rest, ok = strings.CutPrefix(rest, "localhost/")
		if ok {
			rest = "/" + rest
		}
		path, err := url.PathUnescape(rest)
		if err != nil || !filepath.IsAbs(path) {
			return "", fmt.Errorf("%w: --source %s: a file URI is file:///absolute/path", ErrConfig, address.Redact(uri))
		}
		return path, nil
	}
	if kind := scheme(uri); kind != "" {
		return "", fmt.Errorf("%w: --source %s: %s sources; give a video file, a folder of pictures, a picture, a camera (rtsp://…, http://…, or its number), or street:?seed=7", ErrUnsupported, address.Redact(uri), kind)
	}
	if shown := address.Redact(uri); strings.Contains(uri, "://") || shown != address.Shorten(uri) {
		// Never a path: what is said of a path that is not there would tell a password.
		return "", fmt.Errorf("%w: --source %s: there is no such file, and a camera begins with rtsp://, rtsps://, http:// or https://", ErrUnsupported, shown)
	}
	return uri, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// scheme is what a URI begins with, its colon included; empty when it has none.
func scheme(uri string) string {
	kind, _, found := strings.Cut(uri, ":")
	if !found || len(kind) < 2 || strings.Trim(strings.ToLower(kind), "abcdefghijklmnopqrstuvwxyz0123456789+.-") != "" {
		return ""
	}
	return kind + ":"
}

// defaultName is the base name without its extension, with - for what a name can't hold.
func defaultName(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs // so that . and .. have a name
	}
	base := filepath.Base(path)
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		if stem := strings.TrimSuffix(base, filepath.Ext(base)); stem != "" {
			base = stem
		}
	}
	name := strings.Map(func(r rune) rune {
		if flow.ValidToken("source", string(r)) != nil {
			return '-'
		}
		return r
	}, base)
	if name == "" {
		return "source"
	}
	return name[:min(len(name), maxName)]
}

// freeName is name, or name-2, name-3… when it is taken.
func freeName(name string, taken map[string]bool) string {
	free := name
	for n := 2; taken[free]; n++ {
		suffix := "-" + strconv.Itoa(n)
		free = name[:min(len(name), maxName-len(suffix))] + suffix
	}
	return free
}
