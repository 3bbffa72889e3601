package main

import (
	"fmt"
	"time"
)

// timeWordLength is the number of digits of any time until 2262 in nanoseconds since the epoch.
const timeWordLength = 19

// timeWord returns the time as a word: its digits as the letters a to j. A number of so many digits might pass for that of a
// card, which policies mask.
func timeWord(moment time.Time) string {
	digits := fmt.Appendf(nil, "%0*d", timeWordLength, moment.UnixNano())
	for i, digit := range digits {
		digits[i] = digit - '0' + 'a'
	}
	return string(digits)
}

// timeOfWord is the reverse of timeWord.
func timeOfWord(word []byte) (time.Time, error) {
	var nanoseconds int64
	for _, letter := range word {
		if letter < 'a' || letter > 'j' {
			return time.Time{}, fmt.Errorf("expected a time in letters, got %q", word)
		}
		nanoseconds = 10*nanoseconds + int64(letter-'a')
	}
	return time.Unix(0, nanoseconds), nil
}
