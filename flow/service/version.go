package service

import (
	"runtime/debug"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/flow/telemetry"
)

// Version and Revision are what was built: a release, and a commit. The build sets them (go build -ldflags "-X …").
var (
	Version  = "dev"
	Revision = ""
)

// Versioned gives a command line --version.
type Versioned struct {
	Version kong.VersionFlag `env:"-" help:"Print version and revision, and end."`
}

// revision is Revision, or what go build knows of the checkout.
func revision() string {
	if Revision != "" {
		return Revision
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown"
}

// ShowBuild registers spatialflow_build_info.
func ShowBuild(registry prometheus.Registerer) {
	telemetry.NewBuildInfo(registry, Version, revision())
}
