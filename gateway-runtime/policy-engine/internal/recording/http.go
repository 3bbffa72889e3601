package recording

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// StartRequest is the body of POST /recordings.
type StartRequest struct {
	Filter  json.RawMessage `json:"filter"`
	Seconds int             `json:"seconds"`
}

// Problem is the body of a refusal.
type Problem struct {
	Reason string `json:"reason"`
}

// jsonLines is the media type of one JSON object on each line.
const jsonLines = "application/x-ndjson"

// Handle serves the recorder's paths: GET, POST and DELETE /recordings, GET and DELETE /exchanges.
func (r *Recorder) Handle(mux *http.ServeMux) {
	mux.HandleFunc("GET /recordings", func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, http.StatusOK, r.Stats()) })
	mux.HandleFunc("POST /recordings", r.postRecording)
	mux.HandleFunc("DELETE /recordings/{id}", r.deleteRecording)
	mux.HandleFunc("GET /exchanges", r.getExchanges)
	mux.HandleFunc("GET /exchanges/{id}", r.getExchange)
	mux.HandleFunc("DELETE /exchanges", func(w http.ResponseWriter, _ *http.Request) {
		r.Forget()
		w.WriteHeader(http.StatusNoContent)
	})
}

func answerJSON[T any](w http.ResponseWriter, status int, value T) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // the client is gone
}

func (r *Recorder) postRecording(w http.ResponseWriter, request *http.Request) {
	var start StartRequest
	body := json.NewDecoder(http.MaxBytesReader(w, request.Body, 64<<10))
	body.DisallowUnknownFields()
	if err := body.Decode(&start); err != nil {
		answerJSON(w, http.StatusBadRequest, Problem{`expected {"filter": {…}, "seconds": N}: ` + err.Error()})
		return
	}
	filter, err := ParseFilter(start.Filter)
	if err != nil {
		answerJSON(w, http.StatusBadRequest, Problem{err.Error()})
		return
	}
	status, err := r.Start(filter, time.Duration(start.Seconds)*time.Second)
	switch {
	case errors.Is(err, ErrTooMany), errors.Is(err, ErrDisabled):
		answerJSON(w, http.StatusConflict, Problem{err.Error()})
	case err != nil:
		answerJSON(w, http.StatusBadRequest, Problem{err.Error()})
	default:
		answerJSON(w, http.StatusCreated, status)
	}
}

func (r *Recorder) deleteRecording(w http.ResponseWriter, request *http.Request) {
	id, err := strconv.ParseUint(request.PathValue("id"), 10, 64)
	if err != nil || !r.Stop(id) {
		answerJSON(w, http.StatusNotFound, Problem{fmt.Sprintf("no recording %s is under way", request.PathValue("id"))})
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// getExchange answers with the newest recorded exchange of a request id.
func (r *Recorder) getExchange(w http.ResponseWriter, request *http.Request) {
	id := request.PathValue("id")
	exchanges := r.Kept(Filter{ID: id})
	if len(exchanges) == 0 {
		answerJSON(w, http.StatusNotFound, Problem{fmt.Sprintf("no exchange %s is kept: exchanges are kept while a recording that they match is under way", id)})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(exchanges[len(exchanges)-1])
}

// getExchanges answers with a line for each exchange that matches the parameter "filter": those that end from now on, for
// "seconds" or as long as the client stays, or with "kept" those recorded already. A line reports dropped ones.
func (r *Recorder) getExchanges(w http.ResponseWriter, request *http.Request) {
	query := request.URL.Query()
	filter, err := ParseFilter([]byte(query.Get("filter")))
	seconds := 0
	if text := query.Get("seconds"); text != "" && err == nil {
		if seconds, err = strconv.Atoi(text); err != nil || seconds < 1 || seconds > int(MaxTime.Seconds()) {
			err = fmt.Errorf("seconds: expected 1 to %d, got %q", int(MaxTime.Seconds()), text)
		}
	}
	if err != nil {
		answerJSON(w, http.StatusBadRequest, Problem{err.Error()})
		return
	}
	if query.Has("kept") {
		w.Header().Set("Content-Type", jsonLines)
		writeLines(w, r.Kept(filter), 0)
		return
	}
	follower, err := r.Follow(filter, time.Duration(seconds)*time.Second)
	if err != nil {
		answerJSON(w, http.StatusConflict, Problem{err.Error()})
		return
	}
	defer follower.Close()
	w.Header().Set("Content-Type", jsonLines)
	for controller := http.NewResponseController(w); ; {
		if controller.Flush() != nil {
			return
		}
		exchanges, dropped, err := follower.Next(request.Context())
		if err != nil || !writeLines(w, exchanges, dropped) {
			return
		}
	}
}

// writeLines reports whether the lines could be written.
func writeLines(w io.Writer, exchanges [][]byte, dropped uint64) bool {
	if dropped > 0 {
		if _, err := fmt.Fprintf(w, "{\"dropped\":%d}\n", dropped); err != nil {
			return false
		}
	}
	for _, exchange := range exchanges {
		if _, err := w.Write(exchange); err != nil {
			return false
		}
		if _, err := io.WriteString(w, "\n"); err != nil {
			return false
		}
	}
	return true
}
