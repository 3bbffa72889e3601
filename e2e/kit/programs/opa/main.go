// Opa is Open Policy Agent's own server, of the parts that tests need: opa ADDRESS FILE…
package main

import (
	"context"
	"log"
	"os"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/plugins"
	"github.com/open-policy-agent/opa/v1/server"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
)

func main() {
	if err := serve(context.Background(), os.Args[1], os.Args[2:]); err != nil {
		log.Fatal(err)
	}
}

// serve answers at address, by the rules of files, until the process ends.
func serve(ctx context.Context, address string, files []string) error {
	store := inmem.New()
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if _, err := ast.ParseModule(file, string(text)); err != nil {
			return err
		}
		put := func(txn storage.Transaction) error { return store.UpsertPolicy(ctx, txn, file, text) }
		if err := storage.Txn(ctx, store, storage.WriteParams, put); err != nil {
			return err
		}
	}
	manager, err := plugins.New(nil, "test", store)
	if err != nil {
		return err
	}
	if err := manager.Start(ctx); err != nil {
		return err
	}
	s, err := server.New().WithStore(store).WithManager(manager).WithAddresses([]string{address}).Init(ctx)
	if err != nil {
		return err
	}
	loops, err := s.Listeners()
	if err != nil {
		return err
	}
	ended := make(chan error)
	for _, loop := range loops {
		go func() { ended <- loop() }()
	}
	return <-ended
}
