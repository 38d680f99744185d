package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/memengine"
)

// refusing is a driver whose Open refuses what it can examine.
type refusing struct{ findings []engine.Finding }

func (refusing) Schemes() []string { return []string{"refusing"} }

func (refusing) Open(context.Context, engine.Target) (engine.Engine, error) {
	return nil, engine.ErrUnusable
}

func (r refusing) Examine(context.Context, engine.Target) ([]engine.Finding, error) {
	return r.findings, nil
}

func TestWhatOpenRefusesCanBeExamined(t *testing.T) {
	want := engine.Finding{Level: engine.LevelDanger, What: "no permission"}
	ds := engine.Drivers{memengine.Driver, refusing{[]engine.Finding{want}}}
	got, err := ds.Examine(t.Context(), engine.Target{Scheme: "refusing"})
	if err != nil || len(got) != 1 || got[0] != want {
		t.Errorf("%v, %v", got, err)
	}
}

func TestAnEngineWithoutAnExaminationSaysSo(t *testing.T) {
	got, err := engine.Drivers{memengine.Driver}.Examine(t.Context(), engine.Target{Scheme: "mem"})
	if err != nil || len(got) == 0 || got[0].Level != engine.LevelNote || got[0].What != "this engine has no examination" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestAnEngineThatIsNotKnownIsNotExamined(t *testing.T) {
	_, err := engine.Drivers{memengine.Driver}.Examine(t.Context(), engine.Target{Scheme: "abacus"})
	if !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("%v", err)
	}
}

func TestLevelsAreWordsInJSON(t *testing.T) {
	got, err := json.Marshal([]engine.Level{engine.LevelOK, engine.LevelNote, engine.LevelWarning, engine.LevelDanger})
	if err != nil || string(got) != `["ok","note","warning","danger"]` {
		t.Errorf("%s, %v", got, err)
	}
}
