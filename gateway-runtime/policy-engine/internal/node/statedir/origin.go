package statedir

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const originFile = "origin" // JSON: where the state is from; removed once a controller has answered

// Origin says where a node's state is from, if no controller has sent it.
type Origin struct {
	Place      string    `json:"place"`      // a file, or a URL without what it keeps secret
	Controller string    `json:"controller"` // that made it
	Made       time.Time `json:"made"`
	Revision   uint64    `json:"revision"`
}

// WriteOrigin stores an origin; nil removes it.
func (d *Directory) WriteOrigin(origin *Origin) error {
	if origin == nil {
		return d.Remove(originFile)
	}
	content, err := json.Marshal(origin)
	if err != nil {
		return err
	}
	path := filepath.Join(d.path, originFile)
	err = writeSynced(path+".new", func(file *os.File) error {
		_, err := file.Write(content)
		return err
	})
	return d.count(errors.Join(err, os.Rename(path+".new", path)))
}

// ReadOrigin returns the origin; nil: a controller has sent the state, or there is none.
func (d *Directory) ReadOrigin() *Origin {
	content, err := os.ReadFile(filepath.Join(d.path, originFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	origin := &Origin{}
	if err != nil || json.Unmarshal(content, origin) != nil {
		return &Origin{Place: "a place that is no longer known"}
	}
	return origin
}
