package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
)

// Connection is how a program reaches NATS. Its files are read again for every connection, so that what is in them changes without a
// restart.
type Connection struct {
	NATS             string `name:"nats" default:"nats://127.0.0.1:4222" help:"NATS servers, separated by commas."`
	NATSUser         string `name:"nats-user" placeholder:"NAME" help:"User at NATS."`
	NATSPassword     string `name:"nats-password" placeholder:"PASSWORD" help:"The user's password; give it by the environment, or by --nats-password-file: everybody on a machine sees its command lines."`
	NATSPasswordFile string `name:"nats-password-file" placeholder:"FILE" help:"File with the user's password; without --nats-user, with the user in its first line and the password in its second. Read again for every connection, so that a new one needs no restart."`
	NATSNkeyFile     string `name:"nats-nkey-file" placeholder:"FILE" help:"File with the seed of an nkey (SU…), instead of user and password; read again for every connection."`
	NATSCreds        string `name:"nats-creds" placeholder:"FILE" help:"NATS credentials file; read again for every connection."`
	NATSCA           string `name:"nats-ca" placeholder:"FILE" help:"Certificates (PEM) of the authorities that may have signed the server's: the connection is TLS then. With tls:// in --nats and without it: those of the system."`
	NATSCert         string `name:"nats-cert" placeholder:"FILE" help:"This program's own certificate (PEM), for servers that want one."`
	NATSKey          string `name:"nats-key" placeholder:"FILE" help:"Key of --nats-cert (PEM)."`
	NATSPrefix       string `name:"nats-prefix" placeholder:"NAME" help:"What all names and subjects begin with, for a deployment beside another in one NATS account: 1 to 16 letters, digits, - and _."`
}

// Validate returns [ErrConnection] when the settings say two things.
func (c Connection) Validate() error {
	if err := flow.ValidPrefix(c.NATSPrefix); err != nil {
		return fmt.Errorf("%w: --nats-prefix: %w", ErrConnection, err)
	}
	ways := 0
	for _, given := range []bool{c.NATSUser != "" || c.NATSPasswordFile != "", c.NATSNkeyFile != "", c.NATSCreds != ""} {
		if given {
			ways++
		}
	}
	switch {
	case c.NATSPassword != "" && c.NATSPasswordFile != "":
		return fmt.Errorf("%w: give --nats-password or --nats-password-file, not both", ErrConnection)
	case c.NATSPassword != "" && c.NATSUser == "":
		return fmt.Errorf("%w: a password without --nats-user", ErrConnection)
	case ways > 1:
		return fmt.Errorf("%w: give one of --nats-user (or --nats-password-file), --nats-nkey-file and --nats-creds", ErrConnection)
	case (c.NATSCert == "") != (c.NATSKey == ""):
		return fmt.Errorf("%w: --nats-cert and --nats-key go together", ErrConnection)
	}
	return nil
}

var errLogin = errors.New("it holds the password alone, or, without --nats-user, two lines: the user, and the password")

// login reads user and password as they are now; nil when there are none.
func (c Connection) login() func() (user, password string, err error) {
	switch {
	case c.NATSPasswordFile != "":
		return func() (user, password string, err error) {
			data, err := os.ReadFile(c.NATSPasswordFile)
			if err != nil {
				return "", "", fmt.Errorf("--nats-password-file: %w", err)
			}
			text := strings.TrimRight(string(data), "\r\n")
			if c.NATSUser != "" && text != "" {
				return c.NATSUser, text, nil
			}
			user, password, two := strings.Cut(text, "\n")
			if user = strings.TrimRight(user, "\r"); c.NATSUser != "" || !two || user == "" || password == "" {
				return "", "", fmt.Errorf("--nats-password-file %s: %w", c.NATSPasswordFile, errLogin)
			}
			return user, password, nil
		}
	case c.NATSUser != "":
		return func() (string, string, error) { return c.NATSUser, c.NATSPassword, nil }
	}
	return nil
}

// seed reads the nkey as it is now; nil when there is none.
func (c Connection) seed() func() ([]byte, error) {
	if c.NATSNkeyFile == "" {
		return nil
	}
	return func() ([]byte, error) {
		data, err := os.ReadFile(c.NATSNkeyFile)
		if err != nil {
			return nil, fmt.Errorf("--nats-nkey-file: %w", err)
		}
		return data, nil
	}
}

// Connect opens a connection; while no server answers it says so once and tries again until ctx ends. What can't get
// better, as a bad password, is returned at once.
func (c Connection) Connect(ctx context.Context, role string, log *slog.Logger) (*bus.Bus, error) {
	options := bus.Options{
		URL: c.NATS, Login: c.login(), Seed: c.seed(), Credentials: c.NATSCreds, CA: c.NATSCA, Cert: c.NATSCert, Key: c.NATSKey,
		Prefix: c.NATSPrefix, Role: role, Log: log,
	}
	for wait := connectWait; ; wait = min(2*wait, connectWaitMax) {
		b, err := bus.Connect(options)
		if err == nil || errors.Is(err, bus.ErrRefused) {
			return b, err
		}
		if wait == connectWait {
			log.Warn("waiting for nats", "error", err)
		}
		if !clock.Sleep(ctx, clock.Jitter(wait)) {
			return nil, fmt.Errorf("wait for nats: %w", context.Cause(ctx))
		}
	}
}

const (
	connectWait    = 100 * time.Millisecond
	connectWaitMax = 2 * time.Second
)
