package addheaders

import "testing"

func TestLeftOut(t *testing.T) { t.Fatal("a build leaves tests out") }
