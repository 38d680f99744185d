package project

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	remark     = regexp.MustCompile(`(?s)<!--.*?-->\n*`)
	goComment  = regexp.MustCompile(`(?m)[ \t]+// .*$`)
	quotedWord = regexp.MustCompile("`[^`\n]+`")
	figure     = regexp.MustCompile(`\d[\d,.]*\d|\d`)
	sameInBoth = regexp.MustCompile(quotedWord.String() + `|` + link.String() + `|` + figure.String())
)

// Who reads the README in Chinese reads the same: its words differ, and the order
// of them in a sentence; its code, commands, links, tests, figures and what is said in which place do not.
func TestTheChineseReadmeIsInStep(t *testing.T) {
	want, got := pieces(read(t, "README.md")), pieces(read(t, "README.zh-CN.md"))
	for i := range max(len(want), len(got)) {
		if w, g := pieceAt(want, i), pieceAt(got, i); w.keeps != g.keeps {
			t.Fatalf("README.zh-CN.md is not in step with README.md:\n%s\nkeeps %s\nit has\n%s\nwhich keeps %s", w.text, w.keeps, g.text, g.keeps)
		}
	}
}

// A test that compares what it does not see would pass for ever.
func TestAPieceThatIsMissingOrChangedIsSeen(t *testing.T) {
	const page = "# A\n\nSee [b](b.md) in `c`\nand 2.\n\n    run x    # why\n\n- one\n- two `d`\n  and 3\n\n" +
		"| | e |\n|---|---|\n| `f` 4 | 5 |\n\n```go\nx()  // why\n```\n\n```\npicture\n```\n"
	for _, same := range [][2]string{
		{"and 2", "2 and"}, {"# why", "# 为何"}, {"// why", "// 为何"}, {"picture", "图"}, {"one", "一"}, {"# A\n", "# 甲\n\n<!-- `x` -->\n"},
		{"in `c`\nand 2", "`c` 2 in"},
	} {
		if !slices.Equal(kept(strings.Replace(page, same[0], same[1], 1)), kept(page)) {
			t.Errorf("%q instead of %q is a translation, and is taken for a difference", same[1], same[0])
		}
	}
	for _, other := range [][2]string{
		{"# A", "## A"}, {"b.md", "c.md"}, {"`c`", "`g`"}, {"and 2", "and 6"}, {"run x", "run y"}, {"- one\n", ""}, {"`d`", "d"}, {"and 3", "and"},
		{"| `f` 4 | 5 |\n", ""}, {"| `f` 4 | 5 |", "| `f` 5 | 4 |"}, {"x()", "y()"}, {"```\npicture\n```\n", ""},
	} {
		if slices.Equal(kept(strings.Replace(page, other[0], other[1], 1)), kept(page)) {
			t.Errorf("nothing notices %q instead of %q", other[1], other[0])
		}
	}
}

// piece is a heading, a paragraph, a point of a list, a row of a table, a command
// or a block of code, with what a translation keeps of it.
type piece struct{ text, keeps string }

func pieces(page string) (all []piece) {
	var blocks []string
	page = fenced.ReplaceAllStringFunc(remark.ReplaceAllString(page, ""), func(block string) string {
		blocks = append(blocks, block)
		return "```"
	})
	for text := range strings.SplitSeq(joined(page), "\n") {
		switch {
		case text == "":
			continue
		case text == "```":
			text, blocks = blocks[0], blocks[1:]
			all = append(all, piece{text, code(text)})
		case strings.HasPrefix(text, "    "):
			command, _, _ := strings.Cut(text, " # ")
			all = append(all, piece{text, "the command " + strings.TrimSpace(command)})
		case strings.HasPrefix(text, "|"):
			all = append(all, piece{text, row(text)})
		default:
			all = append(all, piece{text, kind(text) + marks(text)})
		}
	}
	return all
}

func pieceAt(all []piece, i int) piece {
	if i < len(all) {
		return all[i]
	}
	return piece{"(the end)", "nothing"}
}

func kept(page string) (all []string) {
	for _, p := range pieces(page) {
		all = append(all, p.keeps)
	}
	return all
}

// joined has each paragraph and each point on one line: a translation breaks its
// lines where it likes.
func joined(page string) string {
	var text strings.Builder
	open := false
	for line := range strings.SplitSeq(page, "\n") {
		alone := line == "" || line == "```" || strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "|") || strings.HasPrefix(line, "#")
		if !open || alone || strings.HasPrefix(line, "- ") {
			text.WriteString("\n" + line)
		} else {
			text.WriteString(" " + strings.TrimSpace(line))
		}
		open = !alone
	}
	return text.String()
}

// code is a program without its comments; of a picture it is only that there is one.
func code(block string) string {
	if strings.HasPrefix(block, "```\n") {
		return "a picture"
	}
	return goComment.ReplaceAllString(block, "")
}

// row goes cell by cell: ours and theirs are not exchanged.
func row(line string) string {
	keeps := "a row"
	for cell := range strings.SplitSeq(line, "|") {
		keeps += marks(cell) + " |"
	}
	return keeps
}

func kind(text string) string {
	first, _, _ := strings.Cut(text, " ")
	switch {
	case strings.Trim(first, "#") == "":
		return "a heading " + first
	case first == "-":
		return "a point"
	}
	return "a paragraph"
}

// marks are the words in backquotes, the links and the figures, sorted: where they
// stand in a sentence is the language's.
func marks(text string) string {
	all := sameInBoth.FindAllString(text, -1)
	slices.Sort(all)
	return strings.Join(append([]string{""}, all...), " ")
}
