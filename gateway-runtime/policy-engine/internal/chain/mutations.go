package chain

import (
	"errors"
	"slices"
	"strings"

	"gatewright.dev/sdk/policy/v1alpha"
)

// headerList is a message's headers while policies change them: the original, and the view of the next policy.
type headerList struct {
	original v1alpha.Headers
	view     v1alpha.Headers
	room     v1alpha.Headers // the memory that begins with view, once changes have allocated it; no other slice extends beyond view
	touched  []string        // names of view that may differ from original, in the order of their first change
}

// moreRoom is the number of headers for which the first change allocates memory beside its own, since most chains add
// few headers, in several changes.
const moreRoom = 3

func newHeaderList(original v1alpha.Headers) headerList {
	return headerList{original: original, view: original}
}

// apply changes the view: remove, set, append. The old view is left intact for its readers. It reports whether there
// were any changes.
func (l *headerList) apply(changes v1alpha.HeaderModifications) bool {
	if len(changes.Remove)+len(changes.Set)+len(changes.Append) == 0 {
		return false
	}
	view := l.withoutReplaced(changes)
	for _, name := range changes.Remove {
		l.touch(strings.ToLower(name))
	}
	for _, headers := range [...][]v1alpha.Header{changes.Set, changes.Append} {
		for _, header := range headers {
			name := strings.ToLower(header.Name)
			l.touch(name)
			view = append(view, v1alpha.Header{Name: name, Value: header.Value})
		}
	}
	l.room, l.view = view, slices.Clip(view)
	return true
}

// withoutReplaced returns the headers that the changes neither remove nor set, with room for the new ones: in place, if
// these are all headers, and memory that no reader can see follows them.
func (l *headerList) withoutReplaced(changes v1alpha.HeaderModifications) v1alpha.Headers {
	isReplaced := func(header v1alpha.Header) bool { return replaces(changes, header.Name) }
	added, first := len(changes.Set)+len(changes.Append), slices.IndexFunc(l.view, isReplaced)
	if first < 0 {
		first = len(l.view)
		if cap(l.room)-first >= added && len(l.room) == first {
			return l.room
		}
	}
	kept := append(make(v1alpha.Headers, 0, len(l.view)+added+moreRoom), l.view[:first]...)
	for _, header := range l.view[first:] {
		if !isReplaced(header) {
			kept = append(kept, header)
		}
	}
	return kept
}

// replaces reports whether the changes remove or set the header.
func replaces(changes v1alpha.HeaderModifications, name string) bool {
	for _, removed := range changes.Remove {
		if strings.EqualFold(removed, name) {
			return true
		}
	}
	for _, set := range changes.Set {
		if strings.EqualFold(set.Name, name) {
			return true
		}
	}
	return false
}

func (l *headerList) touch(name string) {
	if l.touched == nil {
		l.touched = make([]string, 0, 1+moreRoom)
	}
	if !l.isTouched(name) {
		l.touched = append(l.touched, name)
	}
}

// isTouched reports whether the header has been changed.
func (l *headerList) isTouched(name string) bool { return slices.Contains(l.touched, name) }

// set gives the header this one value, as a change of the engine's own.
func (l *headerList) set(name, value string) {
	l.apply(v1alpha.HeaderModifications{Set: []v1alpha.Header{{Name: name, Value: value}}})
}

func (l *headerList) remove(name string) {
	l.apply(v1alpha.HeaderModifications{Remove: []string{name}})
}

// checkSize returns an error if the headers exceed the limits for policies.
func (l *headerList) checkSize() error {
	if reason := exceededHeaderLimit(l.view, 0, maxPolicyLines, maxPolicyBytes); reason != "" {
		return errors.New(reason + ", with those of the message")
	}
	return nil
}

// minimalChanges returns the smallest changes that turn the original into the view.
func (l *headerList) minimalChanges() v1alpha.HeaderModifications {
	var changes v1alpha.HeaderModifications
	var beforeRoom, nowRoom [8]string
	for _, name := range l.touched {
		before := slices.AppendSeq(beforeRoom[:0], l.original.Values(name))
		now := slices.AppendSeq(nowRoom[:0], l.view.Values(name))
		switch {
		case slices.Equal(before, now):
		case len(now) == 0:
			changes.Remove = append(changes.Remove, name)
		case len(before) > 0 && len(before) < len(now) && slices.Equal(before, now[:len(before)]):
			changes.Append = appendAll(changes.Append, name, now[len(before):])
		default:
			if changes.Set == nil {
				changes.Set = make([]v1alpha.Header, 0, len(l.touched))
			}
			changes.Set = appendAll(changes.Set, name, now)
		}
	}
	return changes
}

func appendAll(to []v1alpha.Header, name string, values []string) []v1alpha.Header {
	for _, value := range values {
		to = append(to, v1alpha.Header{Name: name, Value: value})
	}
	return to
}
