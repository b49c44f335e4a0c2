// Package natsconfig is the command nats-config: the configuration of a nats-server with a user of its own for every role, from the
// table of package roles, and the passwords or keys of these users.
package natsconfig

import (
	"fmt"
	"net/url"
	"strings"
	"text/template"

	"github.com/spatial-flow/spatial-flow/flow/roles"
)

// Config is what a configuration says.
type Config struct {
	Table      roles.Table
	Roles      []roles.Role
	Include    string // file of the users' hashes or keys, as the server sees it
	RolesOnly  bool   // nothing but who may do what
	Nkeys      bool   // users are known by keys instead of passwords
	Name       string // of the server, or empty
	Listen     string
	Monitoring string // address, or empty
	StoreDir   string
	MaxFile    string
	MaxMemory  string
	TLS        TLS
	Cluster    Cluster
}

// TLS are files as the server sees them; without Cert there is none.
type TLS struct{ Cert, Key, CA string } // CA: clients must have a certificate of it

// Cluster is what a server has in common with others; without Name it is alone.
type Cluster struct {
	Name, Listen string
	Password     string // that its servers have in common, or empty; of letters and digits, since it is part of a URL
	Routes       []string
}

// variants are the users of a role: while one is changed the other holds.
var variants = []string{"a", "b"}

// user is one who may connect.
type user struct {
	Name     string // <role>-a
	Variable string // what the included file calls the hash, or key
}

func (c Config) users(role roles.Role) (all []user) {
	kind := "PASSWORD_"
	if c.Nkeys {
		kind = "NKEY_"
	}
	for _, variant := range variants {
		name := role.Name + "-" + variant
		all = append(all, user{name, kind + variable(name)})
	}
	return all
}

// Route is where another server of the cluster is, and how it is asked.
func (c Config) Route(server string) (string, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("%w: --route %s is no URL like nats://nats-1:6222", ErrUsage, server)
	}
	if c.Cluster.Password != "" {
		u.User = url.UserPassword("cluster", c.Cluster.Password)
	}
	return u.String(), nil
}

// variable is a name as those of nats-server's variables are.
func variable(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }

// validate returns [roles.ErrRole], or what [roles.Table.Validate] does, when the configuration would not be what is meant.
func (c Config) validate() error {
	if err := c.Table.Validate(c.Roles); err != nil {
		return err
	}
	seen := map[string]string{}
	for _, role := range c.Roles {
		if other, taken := seen[variable(role.Name)]; taken {
			return fmt.Errorf("%w: the names %s and %s are too much alike", roles.ErrRole, other, role.Name)
		}
		seen[variable(role.Name)] = role.Name
	}
	return nil
}

// Encode is the text of nats-server.conf.
func (c Config) Encode() (string, error) {
	if err := c.validate(); err != nil {
		return "", err
	}
	type row struct {
		roles.Role
		roles.Permissions
		Variable string
		Users    []user
	}
	var rows []row
	for _, role := range c.Roles {
		rows = append(rows, row{role, c.Table.Of(role), "ROLE_" + variable(role.Name), c.users(role)})
	}
	var text strings.Builder
	err := page.Execute(&text, struct {
		Config
		Rows []row
	}{c, rows})
	if err != nil {
		return "", fmt.Errorf("write the configuration: %w", err)
	}
	return text.String(), nil
}

var page = template.Must(template.New("nats-server.conf").Funcs(template.FuncMap{
	"list": func(subjects []string) string {
		var text strings.Builder
		for _, subject := range subjects {
			fmt.Fprintf(&text, "\n    %q", subject)
		}
		return text.String()
	},
}).Parse(`{{- define "tls"}}tls {
  cert_file: {{printf "%q" .Cert}}
  key_file: {{printf "%q" .Key}}
{{- with .CA}}
  ca_file: {{printf "%q" .}}
  verify: true
{{- end}}
  timeout: 5
}{{end -}}
# nats-server.conf of Spatial-Flow, made by spatialflow nats-config. Make it again when a group, a source or a role is added, and have the
# server take it, and what it includes, by a signal: nats-server --signal reload (SIGHUP). Who may do what: docs/security.md.
include {{printf "%q" .Include}}
{{if not .RolesOnly}}
{{with .Name}}server_name: {{printf "%q" .}}
{{end}}listen: {{printf "%q" .Listen}}
{{- with .Monitoring}}
http: {{printf "%q" .}} # asks nobody who they are
{{- end}}
max_payload: 4MB
max_connections: 4096
ping_interval: "15s"
write_deadline: "5s"

jetstream {
  store_dir: {{printf "%q" .StoreDir}}
  max_file_store: {{.MaxFile}}
  max_memory_store: {{.MaxMemory}}
}
{{- if .TLS.Cert}}

{{template "tls" .TLS}}
{{- end}}
{{- with .Cluster}}{{if .Name}}

lame_duck_duration: "30s"
lame_duck_grace_period: "5s"

cluster {
  name: {{printf "%q" .Name}}
  listen: {{printf "%q" .Listen}}
  # Clients come back by the name that they were given, which leads to servers that are ready.
  no_advertise: true
{{- with .Password}}
  authorization {user: cluster, password: {{printf "%q" .}}, timeout: 5}
{{- end}}
  routes: [{{range .Routes}}
    {{$.Route . | printf "%q"}}{{end}}
  ]
{{- if $.TLS.Cert}}
  {{template "tls" $.TLS}}
{{- end}}
}
{{- end}}{{end}}
{{end}}
# What is not named is refused.
{{range .Rows}}
{{.Variable}}: {
  publish: {{if .Publish}}{allow: [{{list .Publish}}
  ]}{{else}}{deny: [">"]}{{end}}
  subscribe: {allow: [{{list .Subscribe}}
  ]}
{{- if .Answers}}
  allow_responses: {max: 1, expires: "1m"}
{{- end}}
}
{{end}}
authorization {
  timeout: 5
  users: [
{{- range .Rows}}{{$permissions := .Variable}}{{range .Users}}
{{- if $.Nkeys}}
    {nkey: ${{.Variable}}, permissions: ${{$permissions}}}
{{- else}}
    {user: {{printf "%q" .Name}}, password: ${{.Variable}}, permissions: ${{$permissions}}}
{{- end}}{{end}}{{end}}
  ]
}
`))
