package lockstep

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
)

// Encoding is how a typed map or value stores its values.
type Encoding uint8

// The encodings.
const (
	// JSON is that of encoding/json.
	JSON Encoding = iota
	// Text is a type's own: it implements [encoding.TextMarshaler] and
	// [encoding.TextUnmarshaler], itself or its pointer. A string is stored as it is.
	// What other programs write at a path is text more often than JSON.
	Text
)

// codec turns values into what is stored and back.
type codec[T any] struct {
	encoding Encoding
	err      error // of the constructor, told at the first use
}

func newCodec[T any](chosen []Encoding) codec[T] {
	switch {
	case len(chosen) == 0 || len(chosen) == 1 && chosen[0] == JSON:
		return codec[T]{}
	case len(chosen) > 1 || chosen[0] != Text:
		return codec[T]{err: invalidf("encodings %v; choose JSON or Text", chosen)}
	}
	c := codec[T]{encoding: Text}
	v := c.empty()
	_, in := asText(v, marshaler)
	_, out := asText(v, unmarshaler)
	if _, plain := any(*v).(string); !plain && (!in || !out) {
		c.err = invalidf("%T has no text of its own: it implements TextMarshaler and TextUnmarshaler, or is a string", *v)
	}
	return c
}

// empty is a T to decode into. A pointer points to something, or there would be
// nothing whose method could be called.
func (codec[T]) empty() *T {
	v := new(T)
	if p := reflect.ValueOf(v).Elem(); p.Kind() == reflect.Pointer {
		p.Set(reflect.New(p.Type().Elem()))
	}
	return v
}

func marshaler(v any) (encoding.TextMarshaler, bool) {
	m, ok := v.(encoding.TextMarshaler)
	return m, ok
}

func unmarshaler(v any) (encoding.TextUnmarshaler, bool) {
	m, ok := v.(encoding.TextUnmarshaler)
	return m, ok
}

// asText is the value's own method, or its pointer's.
func asText[T, M any](v *T, as func(any) (M, bool)) (M, bool) {
	if m, ok := as(*v); ok {
		return m, true
	}
	return as(v)
}

func (c codec[T]) encode(v T) (stored []byte, err error) {
	switch {
	case c.err != nil:
		return nil, c.err
	case c.encoding == JSON:
		stored, err = json.Marshal(v)
	default:
		if m, ok := asText(&v, marshaler); ok {
			stored, err = m.MarshalText()
		} else {
			stored = fmt.Append(nil, v)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: encode %T: %w", ErrInvalid, v, err)
	}
	return stored, nil
}

// decode is of what m's key has; what was stored as something else is a mismatch.
func (c codec[T]) decode(m *Map, key string, stored []byte) (T, error) {
	v := c.empty()
	err := c.err
	switch {
	case err != nil:
		return *new(T), err
	case c.encoding == JSON:
		v = new(T)
		err = json.Unmarshal(stored, v)
	default:
		if u, ok := asText(v, unmarshaler); ok {
			err = u.UnmarshalText(stored)
		} else {
			reflect.ValueOf(v).Elem().SetString(string(stored))
		}
	}
	if err != nil {
		mismatch := &MismatchError{Name: m.name, Detail: fmt.Sprintf("what is stored at key %q is no %T", key, *v)}
		return *new(T), fmt.Errorf("%w: %w", mismatch, err)
	}
	return *v, nil
}
