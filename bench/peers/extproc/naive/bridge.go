package main

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	naivepb "gatewright.dev/bench/extproc/gen/naive"
)

// bridge sends executions over one stream, and their answers to the goroutines that wait for them.
type bridge struct {
	stream  naivepb.NaiveExecutor_ExecuteStreamClient
	sending sync.Mutex

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan *naivepb.Answer
	broken  error
}

func connect(ctx context.Context, target string) (*bridge, error) {
	connection, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	stream, err := naivepb.NewNaiveExecutorClient(connection).ExecuteStream(ctx, grpc.WaitForReady(true))
	if err != nil {
		return nil, fmt.Errorf("open the stream to %s: %w", target, err)
	}
	b := &bridge{stream: stream, waiting: map[uint64]chan *naivepb.Answer{}}
	go b.receive()
	return b, nil
}

// execute gives the execution its id, sends it and waits for its answer.
func (b *bridge) execute(ctx context.Context, execution *naivepb.Execution) (*naivepb.Answer, error) {
	answered := make(chan *naivepb.Answer, 1)
	if err := b.register(execution, answered); err != nil {
		return nil, err
	}
	if err := b.send(execution); err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case answer, open := <-answered:
		if !open {
			return nil, status.Error(codes.Unavailable, "the executor has closed its stream")
		}
		return answer, nil
	}
}

func (b *bridge) register(execution *naivepb.Execution, answered chan *naivepb.Answer) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken != nil {
		return b.broken
	}
	b.last++
	execution.Id = b.last
	b.waiting[b.last] = answered
	return nil
}

func (b *bridge) send(execution *naivepb.Execution) error {
	b.sending.Lock()
	defer b.sending.Unlock()
	return b.stream.Send(execution)
}

func (b *bridge) receive() {
	for {
		answer, err := b.stream.Recv()
		if err != nil {
			b.fail(err)
			return
		}
		if answered := b.removeWaiting(answer.Id); answered != nil {
			answered <- answer
		}
	}
}

func (b *bridge) removeWaiting(id uint64) chan *naivepb.Answer {
	b.mu.Lock()
	defer b.mu.Unlock()
	answered := b.waiting[id]
	delete(b.waiting, id)
	return answered
}

func (b *bridge) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken = err
	for id, answered := range b.waiting {
		close(answered)
		delete(b.waiting, id)
	}
}
