package node

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/controller"
	"gatewright.dev/policy-engine/internal/property"
	"gatewright.dev/policy-engine/internal/xds"
)

func anUpdate(t *rapid.T, label string) *nodev1.Update {
	update := &nodev1.Update{Revision: rapid.Uint64Range(1, 99).Draw(t, label+" revision")}
	for _, api := range []string{"a", "b", "c", "d"} {
		switch rapid.IntRange(0, 3).Draw(t, label+" "+api) {
		case 1:
			update.RemovedApis = append(update.RemovedApis, api)
		case 2, 3:
			digest := rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, label+" digest of "+api)
			update.Bundles = append(update.Bundles, &nodev1.ApiBundle{Api: api, Digest: digest})
		}
	}
	return update
}

func TestAPlanKeepsUnchangedBundles(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		now := running{}
		for _, bundle := range anUpdate(t, "now").GetBundles() {
			now[bundle.GetApi()] = &version{bundle: &xds.Bundle{API: bundle.GetApi(), Digest: bundle.GetDigest()}}
		}
		update := anUpdate(t, "update")
		bundles := len(update.GetBundles())
		p := planOf(now, controller.Pack(update))
		if len(p.changed)+len(p.unchanged) != bundles || !slices.Equal(p.removed, update.GetRemovedApis()) {
			t.Fatalf("a bundle or a removal of %v is lost in %v", update, p)
		}
		for _, bundle := range p.changed {
			if current := now[bundle.API]; current != nil && current.bundle.Digest == bundle.Digest {
				t.Fatalf("%s runs already", bundle.API)
			}
		}
		for _, bundle := range p.unchanged {
			if current := now[bundle.API]; current == nil || current.bundle.Digest != bundle.Digest {
				t.Fatalf("%s does not run", bundle.API)
			}
		}
	})
}

func TestBisectFindsTheBadOnesAndKeepsTheOthersInOrder(t *testing.T) {
	refused := errors.New("refused")
	property.Check(t, func(t *rapid.T) {
		candidates := rapid.SliceOfNDistinct(rapid.IntRange(0, 99), 0, 20, rapid.ID).Draw(t, "candidates")
		bad := rapid.SliceOfN(rapid.IntRange(0, 99), 0, 4).Draw(t, "bad")
		isBad := func(n int) bool { return slices.Contains(bad, n) }
		tries := 0
		accepted, out, err := bisect(candidates, func(group []int) error {
			tries++
			if i := slices.IndexFunc(group, isBad); i >= 0 {
				return fmt.Errorf("%w: %d", refused, group[i])
			}
			return nil
		}, func(error) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		if want := slices.DeleteFunc(slices.Clone(candidates), isBad); !slices.Equal(accepted, want) {
			t.Fatalf("expected %v to be accepted, got %v", want, accepted)
		}
		for _, r := range out {
			if !isBad(r.candidate) || r.err.Error() != fmt.Sprintf("refused: %d", r.candidate) {
				t.Fatalf("%d was refused for %v", r.candidate, r.err)
			}
		}
		if len(out)+len(accepted) != len(candidates) {
			t.Fatalf("%v and %v are not all of %v", accepted, out, candidates)
		}
		if limit := 1 + 2*len(bad)*6; tries > limit {
			t.Fatalf("%d tries for %d candidates with %d bad ones", tries, len(candidates), len(bad))
		}
	})
}

func TestBisectStopsAtAnErrorOfNoCandidate(t *testing.T) {
	away, refused := errors.New("no Envoy"), errors.New("refused")
	tries := 0
	accepted, out, err := bisect([]int{1, 2, 3, 4}, func(group []int) error {
		tries++
		switch {
		case tries == 1:
			return refused
		case len(group) > 2:
			return away
		}
		return nil
	}, func(err error) bool { return errors.Is(err, refused) })
	if !errors.Is(err, away) || !slices.Equal(accepted, []int{1, 2}) || len(out) != 0 {
		t.Errorf("expected 1 and 2 accepted and the error, got %v, %v, %v", accepted, out, err)
	}
}

func TestARefusalOfTheBaseAloneIsAnError(t *testing.T) {
	refused := errors.New("refused")
	if _, _, err := bisect(nil, func([]int) error { return refused }, func(error) bool { return true }); !errors.Is(err, refused) {
		t.Errorf("expected the refusal, got %v", err)
	}
}
