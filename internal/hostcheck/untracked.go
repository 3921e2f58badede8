package hostcheck

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"ctsync/internal/config"
)

// listFor bounds nft.
const listFor = 5 * time.Second

// readUntracked reads what the rules exempt from tracking: nil where they cannot be listed as text.
func readUntracked(ctx context.Context, c *config.Config) *Untracked {
	if b, _ := os.ReadFile("/proc/net/ip_tables_names"); strings.Contains(string(b), "raw") {
		return nil // iptables-legacy, which nft does not show
	}
	ctx, cancel := context.WithTimeout(ctx, listFor)
	defer cancel()
	rules, err := exec.CommandContext(ctx, "nft", "--terse", "list", "ruleset").Output()
	if err != nil {
		return nil
	}
	return untrackedBy(string(rules), c)
}

var (
	vrrpMatch  = regexp.MustCompile(`\b(l4proto|protocol|nexthdr)\b.*\b(112|vrrp)\b|224\.0\.0\.18|ff02::12`)
	anyMatch   = regexp.MustCompile(`^(counter( packets \d+ bytes \d+)? )?notrack$`)
	namedSet   = regexp.MustCompile(`@\w+|"CT"|xt target`) // what a line of text does not tell
	wholeMatch = regexp.MustCompile(`^(iif|oif)(name)? (\{[^}]*\}|\S+) (counter( packets \d+ bytes \d+)? )?notrack`)
	inQuotes   = regexp.MustCompile(`"([^"]*)"`)
)

// untrackedBy reads nft's listing. A rule that cannot be understood counts for both: an entry in the table is the
// proof, and a false alarm is worth nothing.
func untrackedBy(rules string, c *config.Config) *Untracked {
	u := &Untracked{}
	for line := range strings.Lines(rules) {
		line = strings.TrimSpace(line)
		if !strings.Contains(line, "notrack") && !strings.Contains(line, `xt target "CT"`) {
			continue
		}
		every := anyMatch.MatchString(line) || namedSet.MatchString(line)
		u.VRRP = u.VRRP || every || vrrpMatch.MatchString(line)
		u.Sync = u.Sync || every || exemptsSync(line, c)
	}
	return u
}

func exemptsSync(line string, c *config.Config) bool {
	for _, l := range c.Links {
		port := regexp.MustCompile(`\bdport\b.*\b` + strconv.Itoa(int(l.Port)) + `\b`)
		if port.MatchString(line) || wholeMatch.MatchString(line) && names(line, l.Interface) {
			return true
		}
	}
	return false
}

// names says whether a rule names the interface, or a beginning of its name with *.
func names(line, link string) bool {
	for _, m := range inQuotes.FindAllStringSubmatch(line, -1) {
		begin, wild := strings.CutSuffix(m[1], "*")
		if m[1] == link || wild && strings.HasPrefix(link, begin) {
			return true
		}
	}
	return false
}
