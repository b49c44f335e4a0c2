package natsconfig

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spatial-flow/spatial-flow/flow/roles"
	"github.com/spatial-flow/spatial-flow/flow/service"
)

// Main is the program nats-config: the command of that name for where there is no spatialflow, as in an image without models.
func Main() {
	service.Once("nats-config", "Prints the configuration of a nats-server on which every service may do what it needs and nothing else, and makes the users' passwords.", func(_ context.Context, c *Command) error {
		return c.Run(os.Stdout, os.Stderr)
	})
}

// Command is the command line of nats-config.
type Command struct {
	Group     []string `default:"detect,depth" placeholder:"NAME" help:"Worker groups of the deployment, separated by commas; each has its own role."`
	Publisher []string `sep:"none" placeholder:"NAME=SOURCE,…" help:"One who may publish pictures to ingest.<source> from outside, of these sources; * is all. May be repeated."`
	Reader    []string `sep:"none" placeholder:"NAME=SOURCE,…" help:"One who may read the scenes of these sources from outside; * is all. May be repeated."`

	Users     string   `placeholder:"DIR" help:"Folder of what the users are known by: for each user whose file is not there a password is made (the file is what --nats-password-file takes), and users.conf, which the configuration includes, holds their hashes. Without it the configuration alone is printed."`
	UsersFile string   `placeholder:"FILE" help:"With --users: where the hashes are written, for a folder that is given and not written to; users.conf in that folder without it."`
	Renew     []string `placeholder:"USER" help:"With --users: users (or patterns, as *-b) that get a new password."`
	Nkeys     bool     `help:"Keys instead of passwords: the files are what --nats-nkey-file takes."`

	RolesOnly bool   `help:"Who may do what, and nothing else: for a configuration of your own to include."`
	Output    string `placeholder:"FILE" help:"File that the configuration is written to, at once and for its owner alone; without it: standard output."`

	NATSPrefix string `name:"nats-prefix" placeholder:"NAME" help:"What all names and subjects of the deployment begin with."`

	Include    string `default:"users.conf" help:"Where the server finds users.conf, from the folder that the configuration is in."`
	Listen     string `default:"0.0.0.0:4222" help:"Where the server listens."`
	Monitoring string `default:"127.0.0.1:8222" help:"Where it tells how it is, to everybody who asks; empty: nowhere."`
	StoreDir   string `default:"/data" help:"Where it stores."`
	MaxFile    string `default:"20GB" help:"Most that its streams may hold on disk."`
	MaxMemory  string `default:"2GB" help:"Most that its live streams may hold in memory."`

	TLSCert string `name:"tls-cert" env:"-" placeholder:"FILE" help:"Its certificate (PEM): all connections are TLS then."`
	TLSKey  string `name:"tls-key" env:"-" placeholder:"FILE" help:"The certificate's key (PEM)."`
	TLSCA   string `name:"tls-ca" env:"-" placeholder:"FILE" help:"Who connects must have a certificate of one of these authorities too (PEM)."`

	Name                string   `placeholder:"NAME" help:"Name of the server; one of its own for each of a cluster."`
	Cluster             string   `placeholder:"NAME" help:"Name of the cluster that the server is part of."`
	ClusterListen       string   `default:"0.0.0.0:6222" help:"With --cluster: where its other servers reach it."`
	ClusterPasswordFile string   `placeholder:"FILE" help:"With --cluster and --output: file with the password, of letters and digits, that its servers ask each other for."`
	Route               []string `placeholder:"URL" help:"With --cluster: another server, as nats://nats-1:6222. May be repeated."`
}

var password = regexp.MustCompile(`^[0-9A-Za-z]{24,256}$`)

var size = regexp.MustCompile(`^[0-9]+(KB|MB|GB|TB|K|M|G|T)?$`)

// Validate returns [ErrUsage], [roles.ErrRole], [flow.ErrName] or [flow.ErrGroups] when the flags make no configuration.
func (c *Command) Validate() error {
	switch {
	case (c.TLSCert == "") != (c.TLSKey == "") || c.TLSCA != "" && c.TLSCert == "":
		return fmt.Errorf("%w: --tls-cert and --tls-key go together, and --tls-ca with them", ErrUsage)
	case c.Cluster != "" && c.Name == "":
		return fmt.Errorf("%w: --cluster needs --name: JetStream tells the servers of a cluster apart by it", ErrUsage)
	case (len(c.Route) > 0 || c.ClusterPasswordFile != "") && c.Cluster == "":
		return fmt.Errorf("%w: --route and --cluster-password-file go with --cluster", ErrUsage)
	case c.ClusterPasswordFile != "" && c.Output == "":
		return fmt.Errorf("%w: --cluster-password-file goes with --output: the configuration holds the password then", ErrUsage)
	case len(c.Renew) > 0 && c.Users == "" || c.UsersFile != "" && c.Users == "":
		return fmt.Errorf("%w: --renew and --users-file go with --users", ErrUsage)
	case c.Include == "" || path.IsAbs(c.Include):
		return fmt.Errorf("%w: --include %s: nats-server includes by paths from the folder that its configuration is in", ErrUsage, c.Include)
	case !size.MatchString(c.MaxFile) || !size.MatchString(c.MaxMemory):
		return fmt.Errorf("%w: --max-file and --max-memory are sizes, as 20GB", ErrUsage)
	}
	for _, pattern := range c.Renew {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("%w: --renew %s: %w", ErrUsage, pattern, err)
		}
	}
	config, err := c.config()
	if err != nil {
		return err
	}
	return config.validate()
}

// config is what the flags ask for.
func (c *Command) config() (Config, error) {
	config := Config{
		Table: roles.Table{Prefix: c.NATSPrefix, Groups: c.Group}, Include: c.Include, RolesOnly: c.RolesOnly, Nkeys: c.Nkeys,
		Name: c.Name, Listen: c.Listen, Monitoring: c.Monitoring, StoreDir: c.StoreDir, MaxFile: c.MaxFile, MaxMemory: c.MaxMemory,
		TLS: TLS{c.TLSCert, c.TLSKey, c.TLSCA}, Cluster: Cluster{Name: c.Cluster, Listen: c.ClusterListen, Routes: c.Route},
	}
	if c.ClusterPasswordFile != "" {
		data, err := os.ReadFile(c.ClusterPasswordFile)
		if err != nil {
			return config, fmt.Errorf("read --cluster-password-file: %w", err)
		}
		config.Cluster.Password = strings.TrimSpace(string(data))
		if !password.MatchString(config.Cluster.Password) {
			return config, fmt.Errorf("%w: --cluster-password-file %s: a password of at least 24 letters and digits", ErrUsage, c.ClusterPasswordFile)
		}
	}
	config.Roles = config.Table.Services()
	for _, outside := range []struct {
		kind  roles.Kind
		given []string
	}{{roles.Publisher, c.Publisher}, {roles.Reader, c.Reader}} {
		for _, given := range outside.given {
			name, sources, ok := strings.Cut(given, "=")
			if !ok {
				return Config{}, fmt.Errorf("%w: --%s %s: say of which sources, as %s=cam1,cam2 or %s=*", ErrUsage, outside.kind, given, name, name)
			}
			config.Roles = append(config.Roles, roles.Role{Kind: outside.kind, Name: name, Sources: strings.Split(sources, ",")})
		}
	}
	return config, nil
}

// Run prints the configuration on out, and tells on log what was made.
func (c *Command) Run(out, log io.Writer) error {
	config, err := c.config()
	if err != nil {
		return err
	}
	text, err := config.Encode()
	if err != nil {
		return err
	}
	if c.Users != "" {
		made, err := config.keep(c.Users, cmp.Or(c.UsersFile, filepath.Join(c.Users, usersFile)), c.Renew)
		for _, name := range made {
			fmt.Fprintf(log, "made: %s\n", filepath.Join(c.Users, name))
		}
		if err != nil {
			return err
		}
	}
	if c.Output != "" {
		if err := replace(c.Output, []byte(text)); err != nil {
			return fmt.Errorf("write the configuration: %w", err)
		}
		return nil
	}
	_, err = io.WriteString(out, text)
	return err
}
