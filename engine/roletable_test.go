package engine

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"ctsync/vrrp"
)

// rows is the table as ARCHITECTURE.md shows it: what several states do alike is one row.
func rows() (lines []string) {
	for i := 0; i < len(reactions); {
		r := reactions[i]
		var hears []string
		for ; i < len(reactions) && reactions[i].Role == r.Role && reactions[i].Becomes == r.Becomes && reactions[i].Does == r.Does; i++ {
			hears = append(hears, reactions[i].Hears.String())
		}
		lines = append(lines, fmt.Sprintf("| %s | %s | %s | %s |", r.Role, strings.Join(hears, ", "), r.Becomes, r.Does))
	}
	return lines
}

func TestArchitectureShowsTheReactions(t *testing.T) {
	text, err := os.ReadFile("../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range rows() {
		if !strings.Contains(string(text), line+"\n") {
			t.Errorf("ARCHITECTURE.md lacks the row\n%s", line)
		}
	}
}

func TestEveryRoleReactsToEveryState(t *testing.T) {
	for role := Standby; role <= Active; role++ {
		for s := vrrp.Unknown; s <= vrrp.Gone; s++ {
			n := 0
			for _, r := range reactions {
				if r.Role == role && r.Hears == s {
					n++
				}
			}
			if n != 1 {
				t.Errorf("%s hearing %s has %d reactions, want 1", role, s, n)
			}
		}
	}
}
