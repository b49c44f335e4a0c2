package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// complete puts into SBOMs what cyclonedx-gomod does not know without asking the network, the licence of each module, and takes
// out what differs from one time to the next: the hour (SOURCE_DATE_EPOCH is put in its place), and the sum of the tool.
func complete(dir string, files []string, out io.Writer) error {
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	known, err := licenceOf(dir)
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := change(file, func(bom map[string]any) error { return fill(bom, known, time.Unix(seconds, 0)) }); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		fmt.Fprintln(out, file)
	}
	return nil
}

// licenceOf is the licences of all modules that programs are made of, by path and version.
func licenceOf(dir string) (map[string]string, error) {
	apache, err := os.ReadFile(filepath.Join(dir, "LICENSE"))
	if err != nil {
		return nil, err
	}
	read, err := reviewed(dir)
	if err != nil {
		return nil, err
	}
	mains, err := programs(dir)
	if err != nil {
		return nil, err
	}
	known := map[string]string{}
	for _, build := range builds {
		modules, err := packages(dir, mains, build)
		if err != nil {
			return nil, err
		}
		for _, m := range modules {
			licence, err := judge(m, string(apache), read)
			if err != nil {
				return nil, err
			}
			known[m.String()] = licence
			if m.path == golang {
				known["std "+m.version] = licence
			}
		}
	}
	return known, nil
}

// change reads a file of JSON, and writes it again after edit.
func change(file string, edit func(map[string]any) error) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var document map[string]any
	if err := json.Unmarshal(text, &document); err != nil {
		return err
	}
	if err := edit(document); err != nil {
		return err
	}
	if text, err = json.MarshalIndent(document, "", " "); err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// fill completes an SBOM. [errNoLicence] is returned for a component whose licence is not known.
func fill(bom map[string]any, known map[string]string, hour time.Time) error {
	metadata, _ := bom["metadata"].(map[string]any)
	if metadata == nil {
		return errors.New("no metadata")
	}
	metadata["timestamp"] = hour.UTC().Format(time.RFC3339)
	tools, _ := metadata["tools"].([]any)
	for _, tool := range tools {
		delete(tool.(map[string]any), "hashes")
	}
	components, _ := bom["components"].([]any)
	for _, component := range append(components, metadata["component"]) {
		c, _ := component.(map[string]any)
		name, _ := c["name"].(string)
		version, _ := c["version"].(string)
		licence := known[name+" "+version]
		if strings.HasPrefix(name, root) {
			licence = "Apache-2.0"
		}
		if licence == "" {
			return fmt.Errorf("%s %s %w", name, version, errNoLicence)
		}
		c["licenses"] = []any{map[string]any{"expression": licence}}
	}
	return nil
}

// valid fails for SBOMs that the schema of CycloneDX refuses, and for those that leave out the licence of a component.
func valid(schemas string, files []string, out io.Writer) error {
	compiler := jsonschema.NewCompiler()
	for _, name := range []string{"bom-1.6", "spdx", "jsf-0.82"} {
		file, err := os.Open(filepath.Join(schemas, name+".SNAPSHOT.schema.json"))
		if err != nil {
			return fmt.Errorf("the schema of CycloneDX (make install-test): %w", err)
		}
		schema, err := jsonschema.UnmarshalJSON(file)
		file.Close()
		if err != nil {
			return err
		}
		if err := compiler.AddResource("http://cyclonedx.org/schema/"+name+".SNAPSHOT.schema.json", schema); err != nil {
			return err
		}
	}
	schema, err := compiler.Compile("http://cyclonedx.org/schema/bom-1.6.SNAPSHOT.schema.json")
	if err != nil {
		return err
	}
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		document, err := jsonschema.UnmarshalJSON(file)
		file.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := schema.Validate(document); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		components, _ := document.(map[string]any)["components"].([]any)
		for _, component := range components {
			if c := component.(map[string]any); c["licenses"] == nil {
				return fmt.Errorf("%s: %v %w", name, c["name"], errNoLicence)
			}
		}
		fmt.Fprintf(out, "%s: valid, %d components with their licences\n", name, len(components))
	}
	return nil
}
