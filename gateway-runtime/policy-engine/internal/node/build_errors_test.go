package node

import (
	"errors"
	"testing"
)

func TestEachComplaintIsSaidOnceWithTheOperationsThatItConcerns(t *testing.T) {
	var wrong buildErrors
	if wrong.err() != nil {
		t.Fatal("nothing is wrong, and still an error")
	}
	all := errors.New("policies[0]: no such model")
	wrong.add("GET /a", []error{all, errors.New("policies[1]: no such key")})
	wrong.add("GET /b", nil)
	wrong.add("GET /c", []error{all})
	wrong.add("OPTIONS /c", []error{all})
	want := "operation \"GET /a\" and 2 more: policies[0]: no such model\noperation \"GET /a\": policies[1]: no such key"
	if got := wrong.err().Error(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
