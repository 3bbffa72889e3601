package condition

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxInput bounds what Check reads.
const maxInput = 16 << 20

// Check compiles each text of a JSON list, and writes a JSON list of the same length: null, or a Mistake. A controller,
// which is no Go program, uses it to predict the verdict of its nodes.
func Check(in io.Reader, out io.Writer) error {
	var texts []string
	if err := json.NewDecoder(io.LimitReader(in, maxInput)).Decode(&texts); err != nil {
		return fmt.Errorf("expected a JSON list of conditions: %w", err)
	}
	mistakes := make([]*Mistake, len(texts))
	for n, text := range texts {
		_, err := Compile(text)
		if mistake, ok := errors.AsType[*Mistake](err); ok {
			mistakes[n] = mistake
		} else if err != nil {
			return err
		}
	}
	return json.NewEncoder(out).Encode(mistakes)
}
