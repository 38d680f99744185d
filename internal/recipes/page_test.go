package recipes

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	marked = regexp.MustCompile(`(?ms)^\t// recipe ([^\n]+): ([^\n:]+)\n(.*?)^\t// end\n`)
	shown  = regexp.MustCompile("(?ms)^<!-- ([^\n]+): ([^\n:]+) -->\n```go\n(.*?)^```\n")
)

// What the page shows is what runs.
func TestThePageShowsTheCodeThatRuns(t *testing.T) {
	runs := snippets(marked, read(t, "*.go"))
	for name, code := range runs {
		runs[name] = outdented(code)
	}
	page := snippets(shown, read(t, "../../docs/recipes.md"))
	if len(runs) == 0 {
		t.Fatal("no recipe")
	}
	for name, code := range runs {
		if page[name] != code {
			t.Errorf("docs/recipes.md shows for %q:\n%s\nbut what runs is:\n%s", name, page[name], code)
		}
	}
	for name := range page {
		if _, ok := runs[name]; !ok {
			t.Errorf("docs/recipes.md shows %q, which is nowhere", name)
		}
	}
}

func snippets(re *regexp.Regexp, text string) map[string]string {
	found := make(map[string]string)
	for _, m := range re.FindAllStringSubmatch(text, -1) {
		found[m[1]+": "+m[2]] = m[3]
	}
	return found
}

// outdented is code without the tab in front that its function gave it.
func outdented(code string) string {
	lines := strings.SplitAfter(code, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, "\t")
	}
	return strings.Join(lines, "")
}

func read(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&all, string(b))
	}
	return all.String()
}
