// Package tests holds what is tested of the project as a whole.
package tests

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "ctsync/"

// rule says what of ours a package may import.
type rule struct {
	pkg     string
	core    bool // decides and does no I/O: see coreDenied
	imports []string
	why     string
}

// rules names every package that ships (one of tests alone does not). A package that is not named fails the test, and so does a name
// without a package.
var rules = []rule{
	{"vrrp", true, nil, "what keepalived's words mean does not depend on what is done about it"},
	{"engine/flow", true, nil, "the kernel's terms are the bottom: kernel, wire and engine share them and nothing else"},
	{"engine/cache", true, nil, "generic over key and value: flows and expectations are two instances of it"},
	{"engine/wire", true, []string{"engine/flow"}, "bytes say what a flow is; who sends them and why is the engine's"},
	{"engine", true, []string{"engine/cache", "engine/flow", "engine/wire", "vrrp"}, "it decides, and is given everything: no edge, or it could not be simulated"},
	{"engine/sim", true, []string{"engine", "engine/cache", "engine/flow", "engine/wire", "vrrp"}, "whole engines in virtual time: the same seed gives the same run only if nothing real is in it"},
	{"notify", false, []string{"vrrp"}, "it says what keepalived said, in vrrp's words; the engine is not its business"},
	{"notify/notifytest", false, nil, "a real keepalived for tests, of any package"},
	{"internal/rawio", false, nil, "system calls and nothing of ours"},
	{"internal/kernel", false, []string{"engine/flow", "internal/rawio"}, "messages to flows and back; no other edge, no decision"},
	{"internal/peer", false, []string{"internal/rawio"}, "it carries bytes and does not know what they mean"},
	{"internal/config", false, nil, "words and values; what they do is wired in the daemon"},
	{"internal/journal", false, nil, "the shape of a line and nothing about its content"},
	{"internal/control", false, []string{"engine", "engine/flow"}, "requests and answers, of engine its Status only"},
	{"internal/show", false, []string{"engine", "engine/flow", "vrrp"}, "layouts of values: of engine and vrrp what Status is made of"},
	{"internal/metrics", false, []string{"engine"}, "Status as numbers"},
	{"internal/keepalived", false, nil, "keepalived's configuration as statements; what is right in it is judged elsewhere"},
	{"internal/hostcheck", false, []string{"engine/flow", "internal/config", "internal/keepalived", "internal/kernel"}, "facts of the host and what is wrong with them; the daemon's are JSON, as any client's"},
	{"internal/top", false, nil, "a client like any other: it reads the JSON of status"},
	{"internal/daemon", false, []string{
		"engine", "engine/cache", "engine/flow", "engine/wire", "vrrp", "notify", "internal/kernel", "internal/peer",
		"internal/config", "internal/control", "internal/journal", "internal/metrics", "internal/rawio", "internal/show",
	}, "the one loop that owns the engine knows every edge"},
	{"cmd/ctsync", false, []string{
		"engine", "engine/flow", "internal/daemon", "internal/control", "internal/show", "internal/config", "internal/journal", "internal/kernel",
		"internal/hostcheck", "internal/keepalived", "internal/top",
	}, "flags and wiring; the kernel for what is asked without a daemon (its table, a check of the host)"},
	{"packaging/man", false, []string{"cmd/ctsync", "internal/config", "internal/journal"}, "pages made from what the program says of itself"},
}

// besides are folders whose packages do not ship and may import anything, and which nothing that ships
// may import.
var besides = []string{"tests", "build"}

// coreDenied are imports that a core package must not have. A name stands for what is below it too.
var coreDenied = map[string]string{
	"context":     "a decision is not cancelled",
	"log":         "facts go out as notes",
	"os":          "no file, no environment, no process",
	"net":         "no sockets",
	"sync":        "one goroutine owns it",
	"runtime":     "nothing depends on the scheduler or the machine",
	"crypto/rand": "randomness comes in",
	"io/fs":       "no files",
	"embed":       "no files",
	"unsafe":      "no memory but Go's",
	"C":           "no memory but Go's",
}

// coreAllowed are exceptions of coreDenied.
var coreAllowed = map[string]string{
	"net/netip":     "values",
	"runtime/debug": "the simulation shows where an engine panicked",
}

// coreUses are functions that a core package must not use, of packages that it may import.
var coreUses = map[string]struct{ denied, allowed *regexp.Regexp }{
	"time":      {denied: regexp.MustCompile(`^(Now|Since|Until|After|AfterFunc|Sleep|Tick|NewTimer|NewTicker|Local|LoadLocation)$`)},
	"math/rand": {allowed: regexp.MustCompile(`^(New|NewSource|Rand|Source)$`)},
	"syscall":   {allowed: regexp.MustCompile(`^(Errno|E[A-Z0-9]+)$`)},
	"fmt":       {denied: regexp.MustCompile(`^(Print|Scan)`)},
}

func TestImportRules(t *testing.T) {
	for _, v := range violations(os.DirFS(".."), rules) {
		t.Error(v)
	}
}

// violations of rules in the packages of a module, one sentence each.
func violations(module fs.FS, rules []rule) (found []string) {
	byPkg := map[string]rule{}
	for _, r := range rules {
		byPkg[r.pkg] = r
	}
	pkgs, err := packages(module)
	if err != nil {
		return []string{err.Error()}
	}
	for _, r := range rules {
		if pkgs[r.pkg] == nil {
			found = append(found, fmt.Sprintf("%s is gone: take it out of the rules", r.pkg))
		}
	}
	for pkg, files := range pkgs {
		r, named := byPkg[pkg]
		switch {
		case slices.Contains(besides, top(pkg)):
			continue
		case !named:
			found = append(found, fmt.Sprintf("%s is not in the rules: say there what it may import, and why", pkg))
			continue
		}
		for _, f := range files {
			found = append(found, r.broken(f)...)
		}
	}
	slices.Sort(found)
	return found
}

type source struct {
	path string
	ast  *ast.File
}

func top(p string) string { first, _, _ := strings.Cut(p, "/"); return first }

// packages are the parsed files of each folder, tests left out.
func packages(module fs.FS) (map[string][]source, error) {
	pkgs := map[string][]source{}
	err := fs.WalkDir(module, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if p != "." && (name[0] == '.' || name[0] == '_' || name == "testdata" || p == "build") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		b, err := fs.ReadFile(module, p)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, b, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		pkgs[path.Dir(p)] = append(pkgs[path.Dir(p)], source{p, f})
		return nil
	})
	return pkgs, err
}

// broken is what f does against r.
func (r rule) broken(f source) (found []string) {
	names := map[string]string{} // as f calls it -> import path
	for _, spec := range f.ast.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		name := path.Base(p)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = p
		if why := r.refuses(p); why != "" {
			found = append(found, fmt.Sprintf("%s imports %s: %s", f.path, p, why))
		}
	}
	if r.core {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if what := impure(n, names); what != "" {
				found = append(found, f.path+" "+what)
			}
			return true
		})
	}
	return found
}

// refuses says why r's package may not import p, or nothing.
func (r rule) refuses(p string) string {
	if ours, ok := strings.CutPrefix(p, module); ok {
		if slices.Contains(r.imports, ours) {
			return ""
		}
		return r.why
	}
	if !r.core || coreAllowed[p] != "" {
		return ""
	}
	if strings.Contains(top(p), ".") {
		return "a core package needs the standard library only"
	}
	for q := p; q != "."; q = path.Dir(q) {
		if why := coreDenied[q]; why != "" {
			return "in a core package " + why
		}
	}
	return ""
}

// impure says what a core package must not do at n.
func impure(n ast.Node, names map[string]string) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "starts a goroutine: one goroutine owns a core package's values"
	case *ast.ChanType:
		return "has a channel: one goroutine owns a core package's values"
	case *ast.SelectorExpr:
		pkg, ok := n.X.(*ast.Ident)
		if !ok {
			return ""
		}
		use, ok := coreUses[names[pkg.Name]]
		if ok && (use.denied != nil && use.denied.MatchString(n.Sel.Name) || use.allowed != nil && !use.allowed.MatchString(n.Sel.Name)) {
			return fmt.Sprintf("uses %s.%s: time and chance come in, results go out", pkg.Name, n.Sel.Name)
		}
	}
	return ""
}

// TestViolationsAreFound plants one of each kind.
func TestViolationsAreFound(t *testing.T) {
	small := []rule{
		{"low", true, nil, "it is the bottom"},
		{"high", false, []string{"low"}, "it is an edge"},
	}
	good := map[string]string{
		"low/low.go":    "package low\nimport (\"time\"; \"net/netip\"; \"syscall\"; \"math/rand\")\ntype T struct { t time.Time; a netip.Addr; e syscall.Errno; r *rand.Rand }",
		"low/a_test.go": "package low\nimport \"ctsync/high\"",
		"high/high.go":  "package high\nimport (\"os\"; \"ctsync/low\"; \"example.org/lib\")\nfunc f() { go f() }",
		"tests/t.go":    "package tests\nimport \"ctsync/high\"",
	}
	for name, c := range map[string]struct{ path, code, want string }{
		"nothing":         {"", "", ""},
		"upwards":         {"low/x.go", `import "ctsync/high"`, "low/x.go imports ctsync/high: it is the bottom"},
		"tests":           {"high/x.go", `import "ctsync/tests"`, "high/x.go imports ctsync/tests: it is an edge"},
		"not named":       {"new/x.go", "", "new is not in the rules"},
		"log":             {"low/x.go", `import "log/slog"`, "low/x.go imports log/slog: in a core package facts"},
		"socket":          {"low/x.go", `import "net"`, "low/x.go imports net: in a core package no sockets"},
		"lock":            {"low/x.go", `import "sync/atomic"`, "low/x.go imports sync/atomic"},
		"library":         {"low/x.go", `import "example.org/lib"`, "needs the standard library only"},
		"clock":           {"low/x.go", "import clock \"time\"\nvar x = clock.Now", "low/x.go uses clock.Now"},
		"timer":           {"low/x.go", "import \"time\"\nvar x = time.NewTimer", "uses time.NewTimer"},
		"shared chance":   {"low/x.go", "import \"math/rand\"\nvar x = rand.Intn(3)", "uses rand.Intn"},
		"system call":     {"low/x.go", "import \"syscall\"\nvar x = syscall.Getpid", "uses syscall.Getpid"},
		"output":          {"low/x.go", "import \"fmt\"\nfunc f() { fmt.Println() }", "uses fmt.Println"},
		"goroutine":       {"low/x.go", "func f() { go f() }", "low/x.go starts a goroutine"},
		"channel":         {"low/x.go", "var c chan int", "low/x.go has a channel"},
		"package is gone": {"low/low.go", "-", "low is gone"},
		"not Go":          {"low/x.go", "func {", "expected"},
	} {
		fsys := fstest.MapFS{}
		for p, code := range good {
			fsys[p] = &fstest.MapFile{Data: []byte(code)}
		}
		switch {
		case c.code == "-":
			delete(fsys, c.path)
		case c.path != "":
			fsys[c.path] = &fstest.MapFile{Data: []byte("package " + top(c.path) + "\n" + c.code)}
		}
		got := violations(fsys, small)
		if c.want == "" && len(got) == 0 || c.want != "" && len(got) == 1 && strings.Contains(got[0], c.want) {
			continue
		}
		t.Errorf("%s: found %q, want %q", name, got, c.want)
	}
}
