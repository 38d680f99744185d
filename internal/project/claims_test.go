package project

import (
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	testName = regexp.MustCompile("`((?:Test|Fuzz|Benchmark|Example)[A-Z]\\w*)((?:/[^`]+)?)`")
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark|Example)[A-Z]\w*)\(`)
	fenced   = regexp.MustCompile("(?ms)^```.*?^```$")
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#+ +(.*)$`)
)

// Whoever reads a claim can run the test that it names: so it exists.
func TestEveryTestThatADocumentNamesExists(t *testing.T) {
	exists := map[string]bool{}
	var sources strings.Builder
	for _, name := range withSuffix(t, ".go") {
		source := read(t, name)
		sources.WriteString(source)
		for _, m := range testFunc.FindAllStringSubmatch(source, -1) {
			exists[m[1]] = true
		}
	}
	for _, doc := range withSuffix(t, ".md") {
		for _, m := range testName.FindAllStringSubmatch(read(t, doc), -1) {
			if !exists[m[1]] {
				t.Errorf("%s names %s, which is no test in this tree", doc, m[1])
			}
			for part := range strings.SplitSeq(strings.Trim(m[2], "/"), "/") {
				if !isSubtest(sources.String(), part) {
					t.Errorf("%s names %s%s, but no test runs a part %q", doc, m[1], m[2], part)
				}
			}
		}
	}
}

// isSubtest reports whether the name stands in a source as a string, as it was
// written or with the underscores that go test prints for spaces.
func isSubtest(sources, part string) bool {
	return part == "" || strings.Contains(sources, `"`+part+`"`) ||
		strings.Contains(sources, `"`+strings.ReplaceAll(part, "_", " ")+`"`)
}

func TestEveryLinkInADocumentLeadsSomewhere(t *testing.T) {
	for _, doc := range withSuffix(t, ".md") {
		text := fenced.ReplaceAllString(read(t, doc), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s links to %q: %v", doc, m[1], err)
				continue
			}
			if target.Scheme != "" {
				continue // the world outside is not this test's
			}
			file := doc
			if target.Path != "" {
				file = path.Join(path.Dir(doc), target.Path)
			}
			if _, err := os.Stat(filepath.Join(root(t), file)); err != nil {
				t.Errorf("%s links to %s, which is not there", doc, m[1])
				continue
			}
			if target.Fragment != "" && !slices.Contains(anchors(read(t, file)), target.Fragment) {
				t.Errorf("%s links to %s: %s has no such heading", doc, m[1], file)
			}
		}
	}
}

// anchors are the fragments of a document's headings, as forges make them.
func anchors(text string) []string {
	var all []string
	drop := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		all = append(all, strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return all
}

// readmeSections is the order in which a new user needs them.
var readmeSections = []string{
	"See it", "Wrap a command", "In Go", "What it cannot promise", "Fencing in one picture",
	"Guarantees by engine", "Measured", "Tests", "When not to use it",
}

func TestTheReadmeKeepsItsOrder(t *testing.T) {
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatch(fenced.ReplaceAllString(read(t, "README.md"), ""), -1) {
		got = append(got, m[1])
	}
	if len(got) < len(readmeSections) || !slices.Equal(got[:len(readmeSections)], readmeSections) {
		t.Errorf("the README's sections are %q, want first %q", got, readmeSections)
	}
}

// A row of a table or a point of a list is a claim where these sections make
// them: it names the test or the figure that shows it.
func TestEveryClaimOfTheReadmeNamesItsTestOrFigure(t *testing.T) {
	for _, name := range []string{"What it cannot promise", "Guarantees by engine", "Measured"} {
		claims := claimsIn(section(t, "README.md", name))
		if len(claims) == 0 {
			t.Errorf("the section %q makes no claim: has its form changed?", name)
		}
		for _, claim := range claims {
			if !testName.MatchString(claim) && !strings.Contains(claim, "](docs/bench/") {
				t.Errorf("README, %s: nothing is named that shows this: %s", name, claim)
			}
		}
	}
}

// section is the text between a heading of the second level and the next.
func section(t *testing.T, doc, name string) string {
	t.Helper()
	_, rest, found := strings.Cut(read(t, doc), "\n## "+name+"\n")
	if !found {
		t.Fatalf("%s has no section %q", doc, name)
	}
	text, _, _ := strings.Cut(rest, "\n## ")
	return text
}

// claimsIn is the points of lists, with the lines that go on from them, and the
// rows of tables below their heads.
func claimsIn(text string) []string {
	var claims []string
	inTable, inPoint := false, false
	for line := range strings.SplitSeq(fenced.ReplaceAllString(text, ""), "\n") {
		switch {
		case strings.HasPrefix(line, "|---"), strings.HasPrefix(line, "| ---"):
			inTable = true
		case strings.HasPrefix(line, "|"):
			if inTable {
				claims = append(claims, line)
			}
			continue
		case strings.HasPrefix(line, "- "):
			claims = append(claims, line)
			inPoint = true
			continue
		case inPoint && strings.HasPrefix(line, "  "):
			claims[len(claims)-1] += "\n" + line
			continue
		default:
			inTable = false
		}
		inPoint = false
	}
	return claims
}
