package demo

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/lockstep-go/lockstep"
)

func TestTheStorageRefusesATokenSmallerThanOneItHasSeen(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "report"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := &storage{file: f}
	for _, c := range []struct {
		token  lockstep.Token
		stored bool
	}{{5, true}, {7, true}, {6, false}, {7, true}, {8, true}, {5, false}} {
		stored, err := s.write(c.token, "x")
		if err != nil || stored != c.stored {
			t.Errorf("token %d: stored %v, %v", c.token, stored, err)
		}
	}
	content, err := os.ReadFile(f.Name())
	if err != nil || string(content) != "5 x\n7 x\n7 x\n8 x\n" {
		t.Errorf("%v: %q", err, content)
	}
}
