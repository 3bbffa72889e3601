package node

// refusal is a candidate that was refused alone, on top of the accepted ones.
type refusal[T any] struct {
	candidate T
	err       error
}

// bisect finds by trial which of the candidates can be accepted together: it tries all at first, then halves of a refused group.
// try receives the candidates accepted so far and some more. An error for which refuses returns false is no candidate's fault:
// bisect stops and returns it, with the candidates of that try among the undecided.
func bisect[T any](candidates []T, try func([]T) error, refuses func(error) bool) (accepted []T, refused []refusal[T], err error) {
	var narrow func(group []T) error
	narrow = func(group []T) error {
		err := try(append(accepted[:len(accepted):len(accepted)], group...))
		switch {
		case err == nil:
			accepted = append(accepted, group...)
			return nil
		case !refuses(err):
			return err
		case len(group) == 1:
			refused = append(refused, refusal[T]{group[0], err})
			return nil
		case len(group) == 0:
			return err
		}
		half := len(group) / 2
		if err := narrow(group[:half]); err != nil {
			return err
		}
		return narrow(group[half:])
	}
	err = narrow(candidates)
	return accepted, refused, err
}
