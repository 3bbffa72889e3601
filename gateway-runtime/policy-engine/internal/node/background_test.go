package node

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestAnUpdateWaitsWhileBuildsFinishOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackground()
		defer b.close()
		builds := []*build{{}, {}, {}}
		for i, finished := range builds[:2] {
			time.AfterFunc(time.Duration(i+1)*800*time.Millisecond, func() { deliver(b, b.built, finished) })
		}
		begin := time.Now()
		if left := b.wait(t.Context(), map[*build]bool{builds[0]: true, builds[1]: true, builds[2]: true}, time.Second); left != 1 || time.Since(begin) != 2600*time.Millisecond {
			t.Errorf("expected to wait a second for the third, got %d left after %s", left, time.Since(begin))
		}
		if got := b.drain(); !slices.Equal(got, builds[:2]) || len(b.drain()) != 0 {
			t.Errorf("expected both that are done, once, got %v", got)
		}
		go deliver(b, b.built, builds[1])
		go deliver(b, b.built, builds[2])
		synctest.Wait()
		b.collect(builds[0])
		if got := b.drain(); len(got) != 3 {
			t.Errorf("expected all that are done by now, got %v", got)
		}
	})
}

// A build of an earlier update may be done while the bundles of the next one are enqueued, and one of them may be what it builds.
func TestBuildsThatFinishMeanwhileAreReturnedOnceAndOthersArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackground()
		defer b.close()
		wanted, earlier, later := &build{}, &build{}, &build{}
		for _, finished := range []*build{wanted, earlier} {
			go deliver(b, b.built, finished)
		}
		synctest.Wait()
		builds := map[*build]bool{wanted: true, later: true}
		if got := b.finished(builds, 0); !slices.Equal(got, []*build{wanted}) || len(b.finished(builds, 0)) != 0 {
			t.Errorf("expected the wanted one, once, got %v", got)
		}
		builds[earlier] = true
		go deliver(b, b.built, later)
		if begin, left := time.Now(), b.wait(t.Context(), builds, time.Second); left != 0 || time.Since(begin) != 0 {
			t.Errorf("expected no wait for the earlier one, got %d left after %s", left, time.Since(begin))
		}
		if got := b.drain(); !slices.Equal(got, []*build{earlier, later}) {
			t.Errorf("expected the earlier and the later one, got %v", got)
		}
	})
}

func TestAClosedNodeTakesNoResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackground()
		b.close()
		if deliver(b, b.built, &build{}) {
			t.Error("expected nothing to be delivered")
		}
		if left := b.wait(t.Context(), nil, time.Second); left != 0 {
			t.Errorf("expected no wait without builds, got %d left", left)
		}
	})
}
