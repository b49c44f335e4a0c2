package natsserver

import (
	"crypto/rand"
	"fmt"

	"github.com/nats-io/nats-server/v2/server"
)

// users are those of a configuration file, and this process, which may do everything.
type users struct {
	given *server.Options // nil: nobody is asked who it is
	own   server.User
}

func newUsers(config string) (u users, err error) {
	if config == "" {
		return u, nil
	}
	u.given = new(server.Options)
	if err := u.given.ProcessConfigFile(config); err != nil {
		return u, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if len(u.given.Users)+len(u.given.Nkeys) == 0 {
		return u, fmt.Errorf("%w: %s has no authorization with users", ErrConfig, config)
	}
	u.own = server.User{Username: rand.Text(), Password: rand.Text()}
	return u, nil
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
