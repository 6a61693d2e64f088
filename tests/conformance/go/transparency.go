// Command transparency reads a Consortia log with Go's own libraries: an implementation that shares no line with ours.
//
//	transparency check < asked.json      verifies what a hub served, and its tiles over HTTP
//	transparency cosign SEED NAME SECONDS < text   prints a cosignature/v1 line over a note's text
//
// It is built without modules: golang.org/x/mod comes from the system's Go packages.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Tiles are 2^8 hashes wide (C2SP tlog-tiles).
const tileHeight = 8

type witnessKey struct {
	Name string `json:"name"`
	Key  string `json:"key"`
}

type inclusion struct {
	Index int64    `json:"index"`
	Size  int64    `json:"size"`
	Root  string   `json:"root"`
	Leaf  string   `json:"leaf"`
	Proof []string `json:"proof"`
}

type consistency struct {
	First      int64    `json:"first"`
	Second     int64    `json:"second"`
	FirstRoot  string   `json:"first_root"`
	SecondRoot string   `json:"second_root"`
	Proof      []string `json:"proof"`
}

type asked struct {
	Tiles         string        `json:"tiles"`
	LogKey        string        `json:"log_key"`
	Note          string        `json:"note"`
	Witnesses     []witnessKey  `json:"witnesses"`
	Inclusions    []inclusion   `json:"inclusions"`
	Consistencies []consistency `json:"consistencies"`
}

type answer struct {
	Witnesses []string `json:"witnesses"`
	Size      int64    `json:"size"`
	Leaves    int64    `json:"leaves"`
	Tiles     int      `json:"tiles"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "check":
		return check()
	case len(args) == 4 && args[0] == "cosign":
		return cosign(args[1], args[2], args[3])
	}
	return errors.New("usage: transparency check | cosign SEED NAME SECONDS")
}

// witness is a note.Verifier of cosignature/v1 lines, which Go's library has none of.
type witness struct {
	name string
	key  ed25519.PublicKey
}

func (w witness) Name() string    { return w.name }
func (w witness) KeyHash() uint32 { return keyHash(w.name, w.key) }

func (w witness) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	seconds := binary.BigEndian.Uint64(signature)
	return ed25519.Verify(w.key, message(text, seconds), signature[8:])
}

func keyHash(name string, key ed25519.PublicKey) uint32 {
	digest := sha256.New()
	digest.Write([]byte(name + "\n\x04"))
	digest.Write(key)
	return binary.BigEndian.Uint32(digest.Sum(nil))
}

func message(text []byte, seconds uint64) []byte {
	return append([]byte(fmt.Sprintf("cosignature/v1\ntime %d\n", seconds)), text...)
}

func cosign(seed, name, seconds string) error {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	raw, err := hex.DecodeString(seed)
	if err != nil {
		return err
	}
	at, err := strconv.ParseUint(seconds, 10, 63)
	if err != nil {
		return err
	}
	key := ed25519.NewKeyFromSeed(raw)
	blob := binary.BigEndian.AppendUint32(nil, keyHash(name, key.Public().(ed25519.PublicKey)))
	blob = binary.BigEndian.AppendUint64(blob, at)
	blob = append(blob, ed25519.Sign(key, message(text, at))...)
	fmt.Printf("— %s %s\n", name, base64.StdEncoding.EncodeToString(blob))
	return nil
}

func check() error {
	var ask asked
	if err := json.NewDecoder(os.Stdin).Decode(&ask); err != nil {
		return err
	}
	names, err := openNote(ask)
	if err != nil {
		return err
	}
	for _, one := range ask.Inclusions {
		if err := checkInclusion(one); err != nil {
			return fmt.Errorf("inclusion of %d in %d: %w", one.Index, one.Size, err)
		}
	}
	for _, one := range ask.Consistencies {
		if err := checkConsistency(one); err != nil {
			return fmt.Errorf("consistency of %d and %d: %w", one.First, one.Second, err)
		}
	}
	made := answer{Witnesses: names}
	if ask.Tiles != "" {
		if err := walkTiles(ask, &made); err != nil {
			return fmt.Errorf("tiles: %w", err)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(made)
}

// openNote verifies the log's signature and gives the names of the witnesses whose cosignatures verify.
func openNote(ask asked) ([]string, error) {
	log, err := note.NewVerifier(ask.LogKey)
	if err != nil {
		return nil, err
	}
	verifiers := []note.Verifier{log}
	for _, one := range ask.Witnesses {
		key, err := hex.DecodeString(one.Key)
		if err != nil {
			return nil, err
		}
		verifiers = append(verifiers, witness{one.Name, key})
	}
	opened, err := note.Open([]byte(ask.Note), note.VerifierList(verifiers...))
	if err != nil {
		return nil, err
	}
	names, signed := []string{}, false
	for _, signature := range opened.Sigs {
		if signature.Name == log.Name() && signature.Hash == log.KeyHash() {
			signed = true
			continue
		}
		names = append(names, signature.Name)
	}
	if !signed {
		return nil, errors.New("the log's own signature is missing")
	}
	return names, nil
}

func checkInclusion(one inclusion) error {
	root, err := hash(one.Root)
	if err != nil {
		return err
	}
	leaf, err := hash(one.Leaf)
	if err != nil {
		return err
	}
	proof, err := hashes(one.Proof)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(tlog.RecordProof(proof), one.Size, root, one.Index, leaf)
}

func checkConsistency(one consistency) error {
	first, err := hash(one.FirstRoot)
	if err != nil {
		return err
	}
	second, err := hash(one.SecondRoot)
	if err != nil {
		return err
	}
	proof, err := hashes(one.Proof)
	if err != nil {
		return err
	}
	return tlog.CheckTree(tlog.TreeProof(proof), one.Second, second, one.First, first)
}

func hashes(texts []string) ([]tlog.Hash, error) {
	all := make([]tlog.Hash, len(texts))
	for i, text := range texts {
		one, err := hash(text)
		if err != nil {
			return nil, err
		}
		all[i] = one
	}
	return all, nil
}

func hash(text string) (tlog.Hash, error) {
	var made tlog.Hash
	raw, err := hex.DecodeString(text)
	if err == nil && len(raw) != len(made) {
		err = fmt.Errorf("a hash has %d bytes, not %d", len(made), len(raw))
	}
	copy(made[:], raw)
	return made, err
}

// walkTiles reads every leaf hash through the hub's tiles, each checked by tlog against the signed root, and then
// makes and checks a proof of every leaf and of every earlier size.
func walkTiles(ask asked, made *answer) error {
	log, err := note.NewVerifier(ask.LogKey)
	if err != nil {
		return err
	}
	text, err := fetch(ask.Tiles + "/checkpoint")
	if err != nil {
		return err
	}
	opened, err := note.Open(text, note.VerifierList(log))
	if err != nil {
		return err
	}
	tree, err := parseTree(opened.Text)
	if err != nil {
		return err
	}
	served := &tiles{prefix: ask.Tiles}
	reader := tlog.TileHashReader(tree, served)
	for n := int64(0); n < tree.N; n++ {
		leaf, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, n)})
		if err != nil {
			return err
		}
		proof, err := tlog.ProveRecord(tree.N, n, reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, n, leaf[0]); err != nil {
			return err
		}
		made.Leaves++
	}
	made.Size, made.Tiles = tree.N, len(served.seen)
	return nil
}

func parseTree(text string) (tlog.Tree, error) {
	lines := strings.Split(text, "\n")
	if len(lines) < 4 {
		return tlog.Tree{}, errors.New("a checkpoint has three lines or more")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

// tiles is a tlog.TileReader over HTTP.
type tiles struct {
	prefix string
	seen   map[string][]byte
}

func (t *tiles) Height() int { return tileHeight }

func (t *tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t *tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	if t.seen == nil {
		t.seen = map[string][]byte{}
	}
	read := make([][]byte, len(wanted))
	for i, tile := range wanted {
		// Go writes the height into the path; C2SP's tiles have one height only, and leave it out.
		path := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", tileHeight), "tile/", 1)
		data, known := t.seen[path]
		if !known {
			var err error
			if data, err = fetch(t.prefix + "/" + path); err != nil {
				return nil, err
			}
			t.seen[path] = data
		}
		read[i] = data
	}
	return read, nil
}

func fetch(url string) ([]byte, error) {
	response, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, response.Status, bytes.TrimSpace(body))
	}
	return body, err
}
