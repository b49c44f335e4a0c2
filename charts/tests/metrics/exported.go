// Package metrics knows which metrics Spatial-Flow's programs export, out of their source, and checks queries of
// dashboards, alerts and scalers against them.
package metrics

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Metric is what is known of a metric.
type Metric struct {
	Kind   string // counter, gauge or histogram; "" where it does not matter, as of an exporter's
	Labels []string
	Ours   bool
}

// Exported is what programs export.
type Exported struct {
	Metrics map[string]Metric
	words   map[string]bool // string literals of the source: what a label may be
}

// modules are the programs' parts of the workspace.
var modules = []string{"client", "flow", "producer", "workers", "fuser", "gateway", "standalone"}

// Read finds the metrics in the source of the project at root. A name that begins with spatialflow_ and is none that it
// understands is an error, so that nothing is passed over.
func Read(root string) (*Exported, error) {
	r := &reader{files: token.NewFileSet(), found: map[string]Metric{}, resolved: map[token.Pos]bool{}, words: map[string]bool{}}
	for _, module := range modules {
		err := filepath.WalkDir(filepath.Join(root, module), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			file, err := parser.ParseFile(r.files, path, source, parser.SkipObjectResolution)
			r.parsed = append(r.parsed, file)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	for _, file := range r.parsed {
		r.file(file)
	}
	if err := r.unresolved(); err != nil {
		return nil, err
	}
	if len(r.found) == 0 {
		return nil, errors.New("no metric found")
	}
	return &Exported{Metrics: r.found, words: r.words}, nil
}

type reader struct {
	files    *token.FileSet
	parsed   []*ast.File
	found    map[string]Metric
	resolved map[token.Pos]bool // literals of names that were understood
	words    map[string]bool
}

// function is one that makes metrics for its callers.
type function struct {
	name  string
	kind  *ast.FuncType
	scope *ast.File // where it can be called; nil: everywhere
}

// constructor tells the kind of prometheus.NewCounterVec and its kin.
var constructor = regexp.MustCompile(`^New(Counter|Gauge|Histogram)(Vec|Func)?$`)

func (r *reader) file(file *ast.File) {
	var stack []ast.Node
	ast.Inspect(file, func(node ast.Node) bool {
		if node == nil {
			stack = stack[:len(stack)-1]
			return true
		}
		stack = append(stack, node)
		switch n := node.(type) {
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
				r.words[text] = true
			}
		case *ast.CallExpr:
			if kind := constructor.FindStringSubmatch(calledName(n)); kind != nil && len(n.Args) > 0 {
				if options, ok := n.Args[0].(*ast.CompositeLit); ok {
					r.metric(strings.ToLower(kind[1]), options, n.Args[1:], enclosing(stack, file))
				}
			}
		}
		return true
	})
}

// enclosing is the innermost function with a name around the last node of a stack.
func enclosing(stack []ast.Node, file *ast.File) function {
	for i := len(stack) - 1; i >= 0; i-- {
		switch n := stack[i].(type) {
		case *ast.FuncDecl:
			return function{name: n.Name.Name, kind: n.Type}
		case *ast.FuncLit:
			if assign, ok := stack[i-1].(*ast.AssignStmt); ok {
				if ident, ok := assign.Lhs[0].(*ast.Ident); ok {
					return function{name: ident.Name, kind: n.Type, scope: file}
				}
			}
		}
	}
	return function{}
}

// metric notes one that is made with options, and further labels in more.
func (r *reader) metric(kind string, options *ast.CompositeLit, more []ast.Expr, in function) {
	var name ast.Expr
	var labels []string
	for _, element := range options.Elts {
		field, ok := element.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		switch key, _ := field.Key.(*ast.Ident); key.Name {
		case "Name":
			name = field.Value
		case "ConstLabels":
			constant, ok := field.Value.(*ast.CompositeLit)
			if !ok {
				return // not understood
			}
			for _, label := range constant.Elts {
				labels = append(labels, text(label.(*ast.KeyValueExpr).Key))
			}
		}
	}
	passed := "" // the parameter that holds the labels
	for _, argument := range more {
		switch a := argument.(type) {
		case *ast.CompositeLit:
			for _, label := range a.Elts {
				labels = append(labels, text(label))
			}
		case *ast.Ident:
			passed = a.Name
		}
	}
	if literal, ok := name.(*ast.BasicLit); ok && passed == "" {
		r.add(literal, kind, labels)
		return
	}
	for _, call := range r.calls(in) {
		literal, ok := name.(*ast.BasicLit)
		if !ok {
			ident, ok := name.(*ast.Ident)
			if !ok {
				continue
			}
			if literal, ok = argument(in, call, ident.Name, 0).(*ast.BasicLit); !ok {
				continue
			}
		}
		all := slices.Clone(labels)
		for i := 0; passed != ""; i++ {
			label := argument(in, call, passed, i)
			if label == nil {
				break
			}
			all = append(all, text(label))
		}
		r.add(literal, kind, all)
	}
}

func (r *reader) add(literal *ast.BasicLit, kind string, labels []string) {
	name := text(literal)
	r.resolved[literal.Pos()] = true
	known := r.found[name]
	for _, label := range labels {
		if !slices.Contains(known.Labels, label) {
			known.Labels = append(known.Labels, label)
		}
	}
	known.Kind, known.Ours = kind, true
	r.found[name] = known
}

// calls are those of a function.
func (r *reader) calls(in function) []*ast.CallExpr {
	var calls []*ast.CallExpr
	for _, file := range r.parsed {
		if in.scope != nil && in.scope != file {
			continue
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if call, ok := node.(*ast.CallExpr); ok && calledName(call) == in.name {
				calls = append(calls, call)
			}
			return true
		})
	}
	return calls
}

// argument is what a call gives for a parameter, the i-th of them if it is variadic; nil when there is none.
func argument(in function, call *ast.CallExpr, parameter string, i int) ast.Expr {
	at := 0
	for _, field := range in.kind.Params.List {
		for _, name := range field.Names {
			if name.Name == parameter {
				if _, variadic := field.Type.(*ast.Ellipsis); !variadic && i > 0 || at+i >= len(call.Args) {
					return nil
				}
				return call.Args[at+i]
			}
			at++
		}
	}
	return nil
}

func calledName(call *ast.CallExpr) string {
	switch called := call.Fun.(type) {
	case *ast.Ident:
		return called.Name
	case *ast.SelectorExpr:
		return called.Sel.Name
	}
	return ""
}

// text is a string literal's; empty for anything else.
func text(expr ast.Expr) string {
	if literal, ok := expr.(*ast.BasicLit); ok {
		if value, err := strconv.Unquote(literal.Value); err == nil {
			return value
		}
	}
	return ""
}

var ourName = regexp.MustCompile(`^spatialflow_[a-z0-9_]+$`)

// unresolved is an error for names of metrics that were not understood.
func (r *reader) unresolved() error {
	var errs []error
	for _, file := range r.parsed {
		ast.Inspect(file, func(node ast.Node) bool {
			if literal, ok := node.(*ast.BasicLit); ok && ourName.MatchString(text(literal)) && !r.resolved[literal.Pos()] {
				errs = append(errs, fmt.Errorf("%s: how metric %s is made is not understood", r.files.Position(literal.Pos()), text(literal)))
			}
			return true
		})
	}
	for name, metric := range r.found {
		if slices.Contains(metric.Labels, "") {
			errs = append(errs, fmt.Errorf("a label of metric %s is not a string literal", name))
		}
	}
	return errors.Join(errs...)
}
