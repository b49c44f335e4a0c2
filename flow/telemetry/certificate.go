package telemetry

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ErrCertificate is returned when a certificate and its key can't be used: a file can't be read or is no PEM, or one does not belong to
// the other.
var ErrCertificate = errors.New("certificate")

// TLSFiles are where an address has its certificate, and those of its issuers after it, and its key: PEM. They are read again when they
// change. The zero value is no TLS.
type TLSFiles struct{ Cert, Key string }

// On says whether there is TLS.
func (f TLSFiles) On() bool { return f.Cert != "" || f.Key != "" }

// Scheme is that of the addresses that are reached so.
func (f TLSFiles) Scheme() string {
	if f.On() {
		return "https"
	}
	return "http"
}

// Validate returns [ErrCertificate], naming the file, when they can't be used.
func (f TLSFiles) Validate() error {
	if !f.On() {
		return nil
	}
	_, err := f.read()
	return err
}

func (f TLSFiles) read() (*tls.Certificate, error) {
	if f.Cert == "" || f.Key == "" {
		return nil, fmt.Errorf("%w: certificate %q and key %q: both are needed", ErrCertificate, f.Cert, f.Key)
	}
	cert, err := readPEM(f.Cert)
	if err != nil {
		return nil, fmt.Errorf("%w: the certificate: %w", ErrCertificate, err)
	}
	key, err := readPEM(f.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: the key: %w", ErrCertificate, err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%w: %s with the key %s: %w", ErrCertificate, f.Cert, f.Key, err)
	}
	return &pair, nil
}

const maxPEM = 1 << 20 // bytes

// readPEM reads a file, and nothing that may never end, as a pipe: nobody would look for another certificate any more.
func readPEM(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", file)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(data) > maxPEM {
		err = fmt.Errorf("%s is larger than %d KiB", file, maxPEM>>10)
	}
	return data, err
}

// certificate is the pair of files as it was last read whole. Each handshake looks whether they have changed.
type certificate struct {
	files TLSFiles
	log   *slog.Logger
	wrong func()          // is told each time that what has changed can't be used
	taken func(time.Time) // is told until when one that is taken holds
	now   atomic.Pointer[tls.Certificate]

	mu   sync.Mutex // of whoever looks
	seen [2]fs.FileInfo
	said string // what was wrong with it when it was looked at last
}

// newCertificate returns [ErrCertificate], naming the file, when the files can't be used.
func newCertificate(files TLSFiles, log *slog.Logger, wrong func(), taken func(time.Time)) (*certificate, error) {
	c := &certificate{files: files, log: log, wrong: wrong, taken: taken}
	pair, err := files.read()
	if err != nil {
		return nil, err
	}
	c.take(pair)
	return c, nil
}

// config is the rules of TLS: Go's own, from TLS 1.2 on.
func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if c.mu.TryLock() { // else somebody looks already
			c.renew()
			c.mu.Unlock()
		}
		return c.now.Load(), nil
	}}
}

// settled is how old a file is whose times tell whether it has changed.
const settled = 2 * time.Second

// renew takes the files if they have changed and belong together; else what was there stays.
func (c *certificate) renew() {
	const tries = 3 // a pair that is changed between the reading of its halves is read again
	for range tries {
		seen, err := c.look()
		if err == nil && same(seen, c.seen) && old(seen) {
			return
		}
		var pair *tls.Certificate
		if err == nil {
			pair, err = c.files.read()
		}
		if err == nil {
			c.seen, c.said = seen, ""
			if now := c.now.Load(); !slices.EqualFunc(pair.Certificate, now.Certificate, bytes.Equal) { // its issuers' too
				c.take(pair)
			}
			return
		}
		if now, looked := c.look(); looked != nil || same(now, seen) {
			c.seen = seen
			if said := err.Error(); said != c.said {
				c.said = said
				c.log.Warn("the certificate stays as it was: what has come can't be used", "error", err)
				c.wrong()
			}
			return
		}
	}
}

func (c *certificate) look() (found [2]fs.FileInfo, err error) {
	for i, file := range []string{c.files.Cert, c.files.Key} {
		if found[i], err = os.Stat(file); err != nil {
			return found, fmt.Errorf("%w: %w", ErrCertificate, err)
		}
	}
	return found, nil
}

// same says whether files look as they did.
func same(now, before [2]fs.FileInfo) bool {
	for i := range now {
		if before[i] == nil || !os.SameFile(now[i], before[i]) || now[i].Size() != before[i].Size() || !now[i].ModTime().Equal(before[i].ModTime()) {
			return false
		}
	}
	return true
}

// old says whether files that look as they did hold what they held.
func old(files [2]fs.FileInfo) bool {
	return time.Since(files[0].ModTime()) >= settled && time.Since(files[1].ModTime()) >= settled
}

func (c *certificate) take(pair *tls.Certificate) {
	c.now.Store(pair)
	c.taken(pair.Leaf.NotAfter)
	if expires := pair.Leaf.NotAfter; time.Now().After(expires) {
		c.log.Warn("the certificate has expired", "file", c.files.Cert, "expired", expires)
	} else {
		c.log.Info("certificate", "file", c.files.Cert, "subject", pair.Leaf.Subject, "names", pair.Leaf.DNSNames, "addresses", pair.Leaf.IPAddresses, "expires", expires)
	}
}
