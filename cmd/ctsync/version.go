package main

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is set by the build: -ldflags "-X main.release=1.2.3".
var release = ""

func (p *program) version() *cobra.Command {
	return leaf("version", "the program's version", none, func(context.Context, []string) error {
		if p.json() {
			return p.printJSON(struct {
				Version string `json:"version"`
			}{versionText()})
		}
		_, err := fmt.Fprintln(p.stdout, "ctsync", versionText())
		return err
	})
}

// versionText is the release, or for a build from a checkout its revision.
func versionText() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "development " + s.Value[:min(12, len(s.Value))]
		}
	}
	return "development"
}
