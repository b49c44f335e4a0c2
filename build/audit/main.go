// Command audit looks at what Spatial-Flow is made of: the licences of what it ships, the notices that they want, the
// versions that are pinned, and the SBOMs. It runs in the root of the repository; `make licences`, `make pins-check` and
// `make audit` call it.
//
// It is a module outside of the workspace, so that what it needs has no say in what the services are built of.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const usage = `audit licences            what every program and image holds is under a licence that is allowed, or was reviewed
audit notices PACKAGE...  prints the licences of what these programs hold, as go's environment would build them
audit pins                versions stand in build/pins and nowhere else
audit sbom FILE...        puts licences into SBOMs of cyclonedx-gomod, and takes out what differs from time to time
audit valid FILE...       these SBOMs are CycloneDX, and name the licence of each component`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "audit:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	switch command, args := args[0], args[1:]; {
	case command == "licences" && len(args) == 0:
		return licences(".", os.Stdout)
	case command == "notices" && len(args) > 0:
		return notices(".", args, os.Stdout)
	case command == "pins" && len(args) == 0:
		return pins(".", os.Stdout)
	case command == "sbom" && len(args) > 0:
		return complete(".", args, os.Stdout)
	case command == "valid" && len(args) > 0:
		cache, err := os.UserCacheDir()
		if err != nil {
			return err
		}
		return valid(filepath.Join(cache, "spatial-flow", "cyclonedx"), args, os.Stdout)
	default:
		return errors.New(usage)
	}
}
