package chain_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"gatewright.dev/policy-engine/internal/chain"
)

// linked is a policy whose streams can have sources. It says which they have.
type linked struct{ keepingFlows }

type linkedName struct{}

func (linked) WithWork(ctx context.Context, _ *time.Duration) context.Context { return ctx }

func (l linked) WithSource(ctx, source context.Context) context.Context {
	if source != nil {
		l.does.t.say("%s: output of %v", l.does.name, source.Value(linkedName{}))
	}
	return context.WithValue(ctx, linkedName{}, l.does.name)
}

func (t *transcript) links(name, letters string, settings ...func(*chain.Settings)) *chain.Instance {
	s := chain.Settings{Mode: modes(letters)}
	for _, set := range settings {
		set(&s)
	}
	return chain.NewInstance(name, name+":v1.0.0", linked{keepingFlows{&flows{&does{name: name, t: t}, wraps}}}, s)
}

// TestTheOutputOfAStreamMayGoToTheNextOneDirectly if the next one gets all of it unchanged, and the chain does not need
// to see it.
func TestTheOutputOfAStreamMayGoToTheNextOneDirectly(t *testing.T) {
	for name, c := range map[string]struct {
		instances func(x *transcript) []*chain.Instance
		watched   bool
		want      []string
	}{
		"two streams": {
			instances: func(x *transcript) []*chain.Instance {
				return []*chain.Instance{x.links("one", "sS"), x.links("two", "sS")}
			},
			want: []string{"two: output of one", "one: output of two"},
		},
		"policies without a body are between": {
			instances: func(x *transcript) []*chain.Instance {
				return []*chain.Instance{x.links("one", "s"), x.marks("marks", "hH"), x.links("two", "s")}
			},
			want: []string{"two: output of one"},
		},
		"a policy that buffers is between": {
			instances: func(x *transcript) []*chain.Instance {
				return []*chain.Instance{x.links("one", "s"), x.marks("marks", "b"), x.links("two", "s")}
			},
		},
		"a policy that fails to buffer is between": {
			instances: func(x *transcript) []*chain.Instance {
				return []*chain.Instance{x.links("one", "s"), x.marks("marks", "b", func(s *chain.Settings) {
					s.MaxBodyBytes, s.OnError = 1, chain.OnError{Default: chain.Continue}
				}), x.links("two", "s")}
			},
		},
		"the next one has a limit of its waits": {
			instances: func(x *transcript) []*chain.Instance {
				return []*chain.Instance{x.links("one", "s"), x.links("two", "s", func(s *chain.Settings) { s.StreamIdleTimeout = time.Minute })}
			},
		},
		"a shadow attachment is between": {
			instances: func(x *transcript) []*chain.Instance {
				return []*chain.Instance{x.links("one", "s"), shadow("beside:v1.0.0", marksAs("beside"), "b"), x.links("two", "s")}
			},
		},
		"a watcher": {
			instances: func(x *transcript) []*chain.Instance {
				return []*chain.Instance{x.links("one", "sS"), x.links("two", "sS")}
			},
			watched: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := post("ab", "cd").answers("ef", "gh").inTurn()
			x.shadows = chain.NewShadows(chain.MaxShadows, chain.NewBudget(1<<20))
			built, err := chain.New(chain.Spec{ID: "c1", API: "orders", Context: "/orders", Operation: "POST /", Instances: c.instances(x), Shadows: x.shadows})
			if err != nil {
				t.Fatal(err)
			}
			var watcher chain.Watcher
			if c.watched {
				watcher = &x.looks
			}
			if err := built.Run(t.Context(), x, watcher, nil); err != nil {
				t.Fatal(err)
			}
			got := slices.DeleteFunc(slices.Clone(x.lines), func(line string) bool { return !slices.Contains(sourceLines, line) })
			if !slices.Equal(got, c.want) {
				t.Errorf("expected %q, got %q", c.want, got)
			}
		})
	}
}

var sourceLines = []string{"two: output of one", "one: output of two"}
