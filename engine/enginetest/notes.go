package enginetest

import (
	"bytes"
	"errors"

	"github.com/lockstep-go/lockstep/engine"
)

var noteChecks = []check{
	{rule: "others see the notes of holders and waiters", run: notesAreSeen},
	{rule: "SetNote replaces the note", run: setNote},
	{rule: "SetNote of what is gone says so", run: setNoteOfGone},
	{rule: "a note of 4 KiB of any bytes comes back as it was", run: longNote},
	{rule: "a note is copied", run: noteIsCopied},
}

func notesAreSeen(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	held, waiting := mutex(name), mutex(name)
	held.Note, waiting.Note = []byte("holds"), []byte("waits")
	a.acquire(held)
	b.enqueue(waiting)
	l := s.client(t).line(name)
	if string(l.Holders[0].Note) != "holds" || string(l.Waiters[0].Note) != "waits" {
		t.Errorf("notes %q and %q", l.Holders[0].Note, l.Waiters[0].Note)
	}
}

func setNote(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	held := mutex(name)
	held.Note = []byte("before")
	a.acquire(held)
	waiter := b.enqueue(mutex(name))
	for _, note := range []string{"after", "", "again", "again"} {
		if err := a.session.SetNote(a.ctx, held, []byte(note)); err != nil {
			t.Fatalf("SetNote: %v", err)
		}
		b.await(name, "the new note", func(l engine.Line) bool { return string(l.Holders[0].Note) == note })
	}
	if err := b.session.SetNote(b.ctx, waiter.claim, []byte("a waiter's")); err != nil {
		t.Fatalf("SetNote of a waiter: %v", err)
	}
	if l := a.line(name); string(l.Waiters[0].Note) != "a waiter's" {
		t.Errorf("a waiter's note is %q", l.Waiters[0].Note)
	}
	waiter.waits()
}

func setNoteOfGone(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	gone, held := mutex(name), mutex(name)
	a.acquire(gone)
	a.release(gone)
	b.acquire(held)
	is(t, "SetNote of a claim that is gone", a.session.SetNote(a.ctx, gone, []byte("x")), engine.ErrNotFound)
	if l := b.line(name); len(l.Holders[0].Note) > 0 {
		t.Errorf("it went to another claim (S3)")
	}
}

func longNote(t TB, s *suite) {
	a := s.client(t)
	note := make([]byte, 4<<10)
	for i := range note {
		note[i] = byte(i)
	}
	cl := mutex(a.name())
	cl.Note = note
	a.acquire(cl)
	if l := a.line(cl.Name); !bytes.Equal(l.Holders[0].Note, note) {
		t.Errorf("a note of %d bytes came back as %d other ones", len(note), len(l.Holders[0].Note))
	}
	if err := a.session.SetNote(a.ctx, cl, note[1:]); err != nil && !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("SetNote: %v", err)
	}
}

func noteIsCopied(t TB, s *suite) {
	a := s.client(t)
	cl := mutex(a.name())
	cl.Note = []byte("note")
	a.acquire(cl)
	cl.Note[0] = 'X'
	l := a.line(cl.Name)
	l.Holders[0].Note[1] = 'X'
	if got := a.line(cl.Name).Holders[0].Note; string(got) != "note" {
		t.Errorf("the note is %q after its caller wrote over its own bytes", got)
	}
}
