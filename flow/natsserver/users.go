package natsserver

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/conf"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/spatial-flow/spatial-flow/flow/clock"
)

// followEvery is how often the files are looked at.
const followEvery = 2 * time.Second

// users are those of a configuration file, and this process, which may do everything.
type users struct {
	config string
	given  *server.Options // nil: nobody is asked who it is
	own    server.User
	digest string // of what the files say
}

func newUsers(config string) (u users, err error) {
	if config == "" {
		return u, nil
	}
	u = users{config: config, own: server.User{Username: rand.Text(), Password: rand.Text()}}
	if u.digest, err = digest(config); err == nil {
		err = u.read()
	}
	return u, err
}

// read reads the file again. What was read before stays when it fails.
func (u *users) read() error {
	given := new(server.Options)
	if err := given.ProcessConfigFile(u.config); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if len(given.Users)+len(given.Nkeys) == 0 {
		return fmt.Errorf("%w: %s has no authorization with users", ErrConfig, u.config)
	}
	u.given = given
	return nil
}

// digest tells what a configuration, the files that it includes, and the files of its TLS say from what they said before.
func digest(config string) (string, error) {
	read, own, err := conf.ParseFileWithChecksDigest(config)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrConfig, err)
	}
	sum := sha256.New()
	sum.Write([]byte(own))
	if tls, ok := value(read["tls"]).(map[string]any); ok {
		for _, name := range []string{"cert_file", "key_file", "ca_file"} {
			if path, ok := value(tls[name]).(string); ok {
				data, err := os.ReadFile(path)
				if err != nil {
					return "", fmt.Errorf("%w: %w", ErrConfig, err)
				}
				sum.Write(data)
			}
		}
	}
	return string(sum.Sum(nil)), nil
}

// value is what the parser with checks wraps.
func value(v any) any {
	if token, ok := v.(interface{ Value() any }); ok {
		return token.Value()
	}
	return v
}

// follow has the users, and the TLS, of the server's configuration be those of its files as they change, until ctx ends. While they are
// wrong it goes on with those that were right.
func (s *Server) follow(ctx context.Context, u users, options func(users) *server.Options, log *slog.Logger) {
	for told := ""; clock.Sleep(ctx, followEvery); {
		now, err := digest(u.config)
		if err == nil && now != u.digest {
			next := u
			if err = next.read(); err == nil {
				err = s.server.ReloadOptions(options(next))
			}
			if err == nil {
				next.digest = now
				u = next
				log.Info("the users of nats are read again", "file", u.config)
			}
		}
		switch {
		case err == nil:
			told = ""
		case told != err.Error():
			told = err.Error()
			log.Error("the users of nats stay as they were", "error", err)
		}
	}
}

func (u users) apply(o *server.Options) {
	if u.given == nil {
		return
	}
	o.Users, o.Nkeys, o.AuthTimeout = append(u.given.Users, &u.own), u.given.Nkeys, u.given.AuthTimeout
	o.TLSConfig, o.TLSTimeout, o.TLSVerify = u.given.TLSConfig, u.given.TLSTimeout, u.given.TLSVerify
}

// credentials are how this process is known; nil when nobody is asked.
func (u users) credentials() func() (user, password string, err error) {
	if u.given == nil {
		return nil
	}
	return func() (string, string, error) { return u.own.Username, u.own.Password, nil }
}
