package proxy

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
)

// Startup is the Type of the one frontend message that has none: the startup packet, or a cancel request.
const Startup byte = 0

// Message is one message of the protocol.
type Message struct {
	Conn    uint64 // counts the proxy's connections from 1
	From    Side
	Type    byte   // the protocol's letter, such as 'Q', or Startup
	Payload []byte // what follows the length; not to be changed or kept
}

// String shows a message for a test's log.
func (m Message) String() string {
	kind := "startup"
	if m.Type != Startup {
		kind = fmt.Sprintf("%q", m.Type)
	}
	text := m.Payload[:min(len(m.Payload), 60)]
	return fmt.Sprintf("%d %s %s %q", m.Conn, m.From, kind, text)
}

// SQL is the text of a Query or Parse message of the frontend, and empty for any other.
func (m Message) SQL() string {
	if m.From != Frontend {
		return ""
	}
	switch m.Type {
	case 'Q':
		text, _, _ := bytes.Cut(m.Payload, []byte{0})
		return string(text)
	case 'P': // the statement's name, then its text
		_, rest, _ := bytes.Cut(m.Payload, []byte{0})
		text, _, _ := bytes.Cut(rest, []byte{0})
		return string(text)
	}
	return ""
}

// Tag is the tag of a CommandComplete message of the backend, such as "COMMIT" or "UPDATE 5", and empty for any other.
func (m Message) Tag() string {
	if m.From != Backend || m.Type != 'C' {
		return ""
	}
	tag, _, _ := bytes.Cut(m.Payload, []byte{0})
	return string(tag)
}

// asksCommit reports whether the frontend sends a COMMIT, alone or at the end of several statements.
func (m Message) asksCommit() bool {
	sql := strings.ToLower(strings.TrimRight(m.SQL(), "; \t\r\n"))
	last := strings.TrimSpace(sql[strings.LastIndexByte(sql, ';')+1:])
	return last == "commit" || strings.HasPrefix(last, "commit ") || last == "end"
}

// LoseCommitAnswer makes a hook that cuts the connection when the server has answered the nth COMMIT, before the client
// has the answer: the transaction is committed, and its client cannot know.
func LoseCommitAnswer(nth int64) Hook {
	var seen atomic.Int64
	return func(m Message) Verdict {
		if m.Tag() == "COMMIT" && seen.Add(1) == nth {
			return Cut
		}
		return Forward
	}
}

// LoseCommitRequest makes a hook that cuts the connection when the client sends the nth COMMIT, before the server has it:
// the transaction is rolled back, and its client cannot know. A COMMIT that was prepared under a name is seen when it is
// prepared, not when it is executed.
func LoseCommitRequest(nth int64) Hook {
	var seen atomic.Int64
	return func(m Message) Verdict {
		if m.asksCommit() && seen.Add(1) == nth {
			return Cut
		}
		return Forward
	}
}

// Requests that take the place of the startup packet.
const (
	codeCancel = 80877102
	codeSSL    = 80877103
	codeGSS    = 80877104
)

// maxMessage bounds what is read as one message: a mistake in the framing should not be taken for 2 GB to come.
const maxMessage = 1 << 30

// readStartup reads the first packet of a client, answering N to a wish for encryption.
func readStartup(client io.ReadWriter) (payload []byte, err error) {
	for {
		payload, err = readBody(client)
		if err != nil {
			return nil, err
		}
		if len(payload) < 4 {
			return nil, fmt.Errorf("a startup packet of %d bytes", len(payload))
		}
		switch binary.BigEndian.Uint32(payload) {
		case codeSSL, codeGSS:
			if _, err := client.Write([]byte{'N'}); err != nil {
				return nil, err
			}
		default:
			return payload, nil
		}
	}
}

// readMessage reads one message that has a type.
func readMessage(r io.Reader) (kind byte, payload []byte, err error) {
	var head [1]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	payload, err = readBody(r)
	return head[0], payload, err
}

// readBody reads a length, which counts itself, and what it announces.
func readBody(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 4 || n > maxMessage {
		return nil, fmt.Errorf("a message of %d bytes", n)
	}
	payload := make([]byte, n-4)
	_, err := io.ReadFull(r, payload)
	return payload, err
}

// encode is the message as it goes over the wire.
func (m Message) encode() []byte {
	b := make([]byte, 0, 5+len(m.Payload))
	if m.Type != Startup {
		b = append(b, m.Type)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.Payload)+4))
	return append(b, m.Payload...)
}
