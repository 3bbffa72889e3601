package main

import (
	"bytes"
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of python_executor.proto.
const (
	frameOfExecutions = 2 // RequestFrame.executions
	replyAcknowledged = 2 // ReplyFrame.frames_acknowledged
	replyActions      = 3
	replyInstances    = 4
)

// raw is a codec that leaves messages unchanged: marshalling would add the load program's cost to the executor's.
type raw struct{}

func (raw) Marshal(message any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*message.(*[]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, message any) error {
	*message.(*[]byte) = data.Materialize()
	return nil
}

func (raw) Name() string { return "proto" }

// reply is one message from the executor.
type reply struct {
	acknowledged uint64 // frames
	configured   bool
	answers      []executionAnswer
}

type executionAnswer struct {
	id  uint64
	err error // the answer is wrong
}

func (p executionsPlan) appendMessage(message []byte, id uint64) []byte {
	message = append(message, p.message...)
	return protowire.AppendVarint(protowire.AppendTag(message, p.idField, protowire.VarintType), id)
}

func (p executionsPlan) appendExecution(frame []byte, id uint64) []byte {
	frame = protowire.AppendTag(frame, frameOfExecutions, protowire.BytesType)
	size := len(p.message) + protowire.SizeTag(p.idField) + protowire.SizeVarint(id)
	return p.appendMessage(protowire.AppendVarint(frame, uint64(size)), id)
}

// parseReply parses a message: a reply frame, or the answer to one execution.
func (p executionsPlan) parseReply(message []byte) (reply, error) {
	if !p.framed {
		return reply{answers: []executionAnswer{p.parseAnswer(message)}}, nil
	}
	var got reply
	err := fields(message, func(number protowire.Number, value uint64, data []byte) {
		switch number {
		case replyAcknowledged:
			got.acknowledged = value
		case replyActions:
			got.answers = append(got.answers, p.parseAnswer(data))
		case replyInstances:
			got.configured = true
		}
	})
	return got, err
}

func (p executionsPlan) parseAnswer(message []byte) executionAnswer {
	var got executionAnswer
	got.err = fields(message, func(number protowire.Number, value uint64, _ []byte) {
		if number == p.idField {
			got.id = value
		}
	})
	if got.err == nil && !bytes.Contains(message, p.expect) {
		got.err = fmt.Errorf("expected %q in the answer, got %.300q", p.expect, message)
	}
	return got
}

// fields calls visit with each field of a message: with its value if it is a varint, with its bytes if it has a length.
func fields(message []byte, visit func(number protowire.Number, value uint64, data []byte)) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return fmt.Errorf("expected a message, got %.80q: %w", message, protowire.ParseError(n))
		}
		message = message[n:]
		var value uint64
		var data []byte
		switch kind {
		case protowire.VarintType:
			value, n = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			data, n = protowire.ConsumeBytes(message)
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return fmt.Errorf("expected a message, got %.80q: %w", message, protowire.ParseError(n))
		}
		message = message[n:]
		visit(number, value, data)
	}
	return nil
}
