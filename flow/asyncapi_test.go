package flow_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/vmihailenco/msgpack/v5"
	"go.yaml.in/yaml/v3"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/configured"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

type object = map[string]any

func readAsyncAPI(t *testing.T) object {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", "asyncapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var document object
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	return document
}

// The document is AsyncAPI, by the specification's own schema (npm: @asyncapi/specs; make install-test fetches it).
func TestAsyncAPIIsValid(t *testing.T) {
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(filepath.Join(cache, "spatial-flow", "asyncapi", "3.0.0-without-$id.json"))
	if err != nil {
		t.Fatalf("the schema of AsyncAPI (make install-test): %v", err)
	}
	defer file.Close()
	schema, err := jsonschema.UnmarshalJSON(file)
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("asyncapi.json", schema); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("asyncapi.json")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(readAsyncAPI(t)) // numbers as JSON has them
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiled.Validate(document); err != nil {
		t.Errorf("docs/asyncapi.yaml: %v", err)
	}
	document.(object)["channels"].(object)["frames"].(object)["adress"] = "x" // so that this test can fail
	if compiled.Validate(document) == nil {
		t.Error("a misspelled key is valid")
	}
}

// The subjects are those that the Go functions make, with what their parameters stand for.
func TestAsyncAPISubjects(t *testing.T) {
	groups, id := flow.DefaultGroups(), flow.FrameID{Source: "cam1", Session: "s", Seq: 7}
	plan := []string{flow.GroupDetect, flow.GroupDepth}
	want := map[string]string{
		"ingest": "ingest.cam1", "frames": groups.FrameSubject(flow.ModeLive, plan, "cam1"),
		"accepted": "accepted" + strings.TrimPrefix(groups.FrameSubject(flow.ModeLive, plan, "cam1"), "frames"),
		"results":  flow.ResultSubject("depth", flow.ModeLive, 5, "cam1"), "scenesLossless": flow.SceneSubject(flow.ModeLossless, 5, id),
		"scenesLive": flow.SceneSubject(flow.ModeLive, 5, id), "done": flow.DoneSubject("depth", "cam1"), "alive": flow.AliveSubject("depth", "i"),
		"manage": configured.Subject,
	}
	values := map[string]string{"mode": "live", "slots": "detect.depth", "source": "cam1", "group": "depth", "partition": "5", "session": "s", "seq": "7", "stage": "depth", "instance": "i"}
	channels := readAsyncAPI(t)["channels"].(object)
	if !slices.Equal(slices.Sorted(maps.Keys(channels)), slices.Sorted(maps.Keys(want))) {
		t.Errorf("channels %v, want %v", slices.Sorted(maps.Keys(channels)), slices.Sorted(maps.Keys(want)))
	}
	for name, subject := range want {
		channel, _ := channels[name].(object)
		parameters, _ := channel["parameters"].(object)
		named := map[string]bool{}
		got := regexp.MustCompile(`\{(\w+)\}`).ReplaceAllStringFunc(fmt.Sprint(channel["address"]), func(parameter string) string {
			key := strings.Trim(parameter, "{}")
			named[key] = true
			if parameters[key] == nil {
				t.Errorf("channel %s does not tell what %s is", name, parameter)
			}
			return values[key]
		})
		if got != subject {
			t.Errorf("channel %s is %s, the program says %s", name, got, subject)
		}
		for key := range parameters {
			if !named[key] {
				t.Errorf("channel %s tells of {%s}, which is not in its address", name, key)
			}
		}
	}
}

// The schemas have the keys, the types, what may be left out, and the words of the Go types.
func TestAsyncAPISchemas(t *testing.T) {
	schemas := readAsyncAPI(t)["components"].(object)["schemas"].(object)
	c := schemaCheck{t: t, schemas: schemas, seen: map[string]bool{}}
	for _, message := range []any{flow.Frame{}, flow.Result{}, flow.Scene{}, flow.Done{}} {
		c.named(reflect.TypeOf(message), "msgpack")
	}
	for _, message := range []any{flow.Alive{}, configured.Request{}, configured.Answer{}} {
		c.named(reflect.TypeOf(message), "json")
	}
	for name := range schemas {
		if !c.seen[name] {
			t.Errorf("no message has a %s", name)
		}
	}
}

type schemaCheck struct {
	t       *testing.T
	schemas object
	seen    map[string]bool
}

// enums are the words of types that have some.
var enums = map[reflect.Type][]string{
	reflect.TypeFor[flow.Mode]():     {string(flow.ModeLossless), string(flow.ModeLive)},
	reflect.TypeFor[depthmap.Kind](): {string(depthmap.InverseRelative), string(depthmap.Relative), string(depthmap.Metric)},
	reflect.TypeFor[configured.Op](): {string(configured.OpPut), string(configured.OpDelete)},
	reflect.TypeFor[flow.State]():    {string(flow.StateRunning), string(flow.StateComplete), string(flow.StateStopped), string(flow.StateFailed)},
}

// named checks the schema of a struct by its name.
func (c *schemaCheck) named(typ reflect.Type, tag string) {
	name := documentedName(typ)
	if c.seen[name] {
		return
	}
	c.seen[name] = true
	schema, ok := c.schemas[name].(object)
	if !ok {
		c.t.Errorf("docs/asyncapi.yaml has no schema %s", name)
		return
	}
	properties, _ := schema["properties"].(object)
	var required []string
	for i := range typ.NumField() {
		field := typ.Field(i)
		key, options, _ := strings.Cut(field.Tag.Get(tag), ",")
		if !field.IsExported() || key == "-" {
			continue
		}
		if options != "omitempty" && options != "omitzero" {
			required = append(required, key)
		}
		property, ok := properties[key].(object)
		if !ok {
			c.t.Errorf("%s lacks key %s", name, key)
			continue
		}
		outcomes := []string{string(flow.OutcomeComplete), string(flow.OutcomePartial), string(flow.OutcomeError)}
		if typ == reflect.TypeFor[flow.Done]() {
			outcomes = append(outcomes, string(flow.OutcomeDropped))
		}
		c.property(name+"."+key, property, field.Type, tag, outcomes)
		delete(properties, key)
	}
	for key := range properties {
		c.t.Errorf("%s has no key %s", name, key)
	}
	var told []string
	keys, _ := schema["required"].([]any)
	for _, key := range keys {
		told = append(told, key.(string))
	}
	if !slices.Equal(told, required) {
		c.t.Errorf("%s requires %v, the program always sends %v", name, told, required)
	}
}

func (c *schemaCheck) property(at string, schema object, typ reflect.Type, tag string, outcomes []string) {
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ == reflect.TypeFor[time.Time]() {
		if schema["type"] != "string" || schema["format"] != "date-time" {
			c.t.Errorf("%s is %v, want a time", at, schema)
		}
		return
	}
	if typ.Kind() == reflect.Struct {
		if want := "#/components/schemas/" + documentedName(typ); schema["$ref"] != want {
			c.t.Errorf("%s is %v, want $ref %s", at, schema, want)
		}
		c.named(typ, tag)
		return
	}
	want := map[reflect.Kind]string{
		reflect.Int: "integer", reflect.Int64: "integer", reflect.Uint64: "integer", reflect.Float32: "number", reflect.Float64: "number",
		reflect.String: "string", reflect.Bool: "boolean", reflect.Slice: "array", reflect.Array: "array", reflect.Map: "object",
	}[typ.Kind()]
	if typ == reflect.TypeFor[msgpack.RawMessage]() {
		if schema["type"] != nil {
			c.t.Errorf("%s is %v, want any value", at, schema["type"])
		}
		return
	}
	binary := typ == reflect.TypeFor[[]byte]()
	if binary {
		want = "string"
	}
	if schema["type"] != want || binary != (schema["format"] == "binary") {
		c.t.Errorf("%s is %v %v, want %s of %v", at, schema["type"], schema["format"], want, typ)
	}
	switch {
	case binary:
	case typ.Kind() == reflect.Slice || typ.Kind() == reflect.Array:
		items, _ := schema["items"].(object)
		c.property(at+"[]", items, typ.Elem(), tag, outcomes)
		if typ.Kind() == reflect.Array && (schema["minItems"] != typ.Len() || schema["maxItems"] != typ.Len()) {
			c.t.Errorf("%s has %v to %v items, want %d", at, schema["minItems"], schema["maxItems"], typ.Len())
		}
	case typ.Kind() == reflect.Map:
		values, _ := schema["additionalProperties"].(object)
		c.property(at+"{}", values, typ.Elem(), tag, outcomes)
	}
	words := enums[typ]
	if typ == reflect.TypeFor[flow.Outcome]() {
		words = outcomes
	}
	var told []string
	if list, ok := schema["enum"].([]any); ok {
		for _, word := range list {
			told = append(told, fmt.Sprint(word))
		}
	}
	if !slices.Equal(told, words) {
		c.t.Errorf("%s is one of %v, want %v", at, told, words)
	}
}
