// Reach reads a coverage profile and prints which blocks of which functions were never reached, and how much of each
// package was. It is what `make sim` says at its end.
//
//	go run ./tests/reach build/sim.cover
package main

import (
	"bufio"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	if len(args) != 1 {
		return fmt.Errorf("reach: one coverage profile is needed")
	}
	f, err := os.Open(args[0])
	if err != nil {
		return fmt.Errorf("reach: %w", err)
	}
	defer f.Close()
	blocks, err := read(f)
	if err != nil {
		return fmt.Errorf("reach: %s: %w", args[0], err)
	}
	return report(blocks, func(file string) (io.ReadCloser, error) { return os.Open(strings.TrimPrefix(file, module)) }, out)
}

const module = "ctsync/"

// block is a piece of code that runs as a whole, as a coverage profile knows it.
type block struct {
	file       string
	line, last int
	statements int
	reached    bool
}

// read takes a profile apart. A block that it has several times is reached if one of them is.
func read(in io.Reader) ([]block, error) {
	type place struct{ file, span string }
	known := map[place]block{}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		file, rest, ok := strings.Cut(lines.Text(), ":")
		if !ok || file == "mode" {
			continue
		}
		b := block{file: file}
		var col, lastCol, count int
		if _, err := fmt.Sscanf(rest, "%d.%d,%d.%d %d %d", &b.line, &col, &b.last, &lastCol, &b.statements, &count); err != nil {
			return nil, fmt.Errorf("%q: %w", lines.Text(), err)
		}
		if b.statements == 0 {
			continue
		}
		span, _, _ := strings.Cut(rest, " ")
		p := place{file, span}
		b.reached = count > 0 || known[p].reached
		known[p] = b
	}
	return slices.SortedFunc(maps.Values(known), func(a, b block) int {
		return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line), cmp.Compare(a.last, b.last))
	}), lines.Err()
}

// report prints what was never reached, by file and function, then how much of each package was.
func report(blocks []block, open func(file string) (io.ReadCloser, error), out io.Writer) error {
	reached, all := map[string]int{}, map[string]int{}
	for _, file := range files(blocks) {
		source, err := open(file)
		if err != nil {
			return fmt.Errorf("reach: %w", err)
		}
		text, err := io.ReadAll(source)
		source.Close()
		if err != nil {
			return fmt.Errorf("reach: %w", err)
		}
		within, err := functions(file, text)
		if err != nil {
			return fmt.Errorf("reach: %w", err)
		}
		lines := strings.Split(string(text), "\n")
		said := ""
		for _, b := range blocks {
			if b.file != file {
				continue
			}
			all[path.Dir(file)]++
			if b.reached {
				reached[path.Dir(file)]++
				continue
			}
			if name := within(b.line); name != said {
				said = name
				fmt.Fprintf(out, "%s %s\n", strings.TrimPrefix(file, module), name)
			}
			fmt.Fprintf(out, "\t%d\t%s\n", b.line, strings.TrimSpace(lines[b.line-1]))
		}
	}
	for _, p := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(out, "%s: %d of %d blocks reached\n", p, reached[p], all[p])
	}
	return nil
}

func files(blocks []block) (names []string) {
	for _, b := range blocks {
		if len(names) == 0 || names[len(names)-1] != b.file {
			names = append(names, b.file)
		}
	}
	return names
}

// functions gives the name of the function that a line is in.
func functions(name string, text []byte) (func(line int) string, error) {
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, name, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return func(line int) string {
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if ok && set.Position(f.Pos()).Line <= line && line <= set.Position(f.End()).Line {
				return f.Name.Name
			}
		}
		return ""
	}, nil
}
