// Package natsconfig is the command nats-config: the configuration of a nats-server with a user of its own for every role, from the
// table of package roles, and the passwords or keys of these users.
package natsconfig

import (
	"fmt"
	"strings"
	"text/template"

	"github.com/spatial-flow/spatial-flow/flow/roles"
)

// Config is what a configuration says.
type Config struct {
	Table      roles.Table
	Roles      []roles.Role
	Include    string // file of the users' hashes or keys, as the server sees it
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
}).Parse(`# nats-server.conf of Spatial-Flow, made by spatialflow nats-config. Make it again when a group, a source or a role is added, and have the
# server take it, and what it includes, by a signal: nats-server --signal reload (SIGHUP). Who may do what: docs/security.md.
include {{printf "%q" .Include}}

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
{{- define "tls"}}tls {
  cert_file: {{printf "%q" .Cert}}
  key_file: {{printf "%q" .Key}}
{{- with .CA}}
  ca_file: {{printf "%q" .}}
  verify: true
{{- end}}
  timeout: 5
}{{end}}
{{- if .TLS.Cert}}

{{template "tls" .TLS}}
{{- end}}
{{- with .Cluster}}{{if .Name}}

cluster {
  name: {{printf "%q" .Name}}
  listen: {{printf "%q" .Listen}}
  routes: [{{range .Routes}}
    {{printf "%q" .}}{{end}}
  ]
{{- if $.TLS.Cert}}
  {{template "tls" $.TLS}}
{{- end}}
}
{{- end}}{{end}}

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
