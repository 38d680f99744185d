package redisengine

import "sync"

// What an inbox holds at most. A watch whose events are taken more slowly than
// commits are made reads the rest from the log.
const (
	inboxMessages = 256
	inboxBytes    = 1 << 20
)

// inbox is what a subscription has heard and its watch has not taken: putting
// something in never blocks.
type inbox struct {
	rung chan struct{} // holds one

	mu       sync.Mutex
	messages []string
	bytes    int
	gap      bool // something was missed, and it came before the messages
}

func newInbox() *inbox { return &inbox{rung: make(chan struct{}, 1)} }

// put takes a message. One that finds no room is missed, with all before it.
func (b *inbox) put(message string) {
	b.mu.Lock()
	if len(b.messages) >= inboxMessages || b.bytes+len(message) > inboxBytes {
		b.messages, b.bytes, b.gap = nil, 0, true
	}
	b.messages = append(b.messages, message)
	b.bytes += len(message)
	b.mu.Unlock()
	b.ring()
}

// missed: the subscription was not there until now.
func (b *inbox) missed() {
	b.mu.Lock()
	b.gap = true
	b.mu.Unlock()
	b.ring()
}

func (b *inbox) ring() {
	select {
	case b.rung <- struct{}{}:
	default:
	}
}

func (b *inbox) take() (messages []string, gap bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	messages, gap = b.messages, b.gap
	b.messages, b.bytes, b.gap = nil, 0, false
	return messages, gap
}
