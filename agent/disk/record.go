package disk

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The record lies in the gap between the partition table and the first partition,
// which begins at 1 MiB: it outlives the formatting of every partition, needs no
// file system, and is found in the same way by Linux and by Windows PE. A GPT ends
// before 34 sectors, GRUB's core image before 512 KiB.
//
// There are two slots; a write goes to the one that holds the older record, so a
// machine that loses power while it writes has the one before. A slot is
//
//	0x00   16  "castpoint record"
//	0x10    8  generation, counts up
//	0x18    4  length of the sealed bytes
//	0x1c    4  length of the run's name
//	0x20   64  name of the run, not sealed: the server knows the key by it
//	0x60   32  SHA-256 of everything before and of the sealed bytes
//	0x80    n  nonce (12) and sealed state: AES-256-GCM, additional data 0x00-0x5f
//
// Numbers are little-endian. The key stays on the server, which gives it to the
// machine that has proven who it is: a disk that is taken away says nothing.
const (
	recordOffset = 512 << 10
	slotSize     = 256 << 10
	slotHeader   = 128
	maxRun       = 64
	// MaxRecord is how many bytes a record can hold.
	MaxRecord = slotSize - slotHeader - 12 - 16
)

var recordMagic = [16]byte([]byte("castpoint record"))

// KeySize is the size of the key of a record in bytes.
const KeySize = 32

// ErrNoRecord says that there is no record on a disk, or none of that run.
var ErrNoRecord = errors.New("no state of a deployment on the disk")

// Store is where a record is kept: a disk, opened to read and write.
type Store interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// slot is a record as it is on the disk.
type slot struct {
	index      int
	generation uint64
	run        string
	header     []byte // additional data
	sealed     []byte
}

// ReadRun returns the name of the run whose state is on the disk.
func ReadRun(s Store) (string, error) {
	newest, err := newestSlot(s)
	if err != nil {
		return "", err
	}
	return newest.run, nil
}

// ReadRecord returns the state of a run. Errors: ErrNoRecord, and errors of the
// disk; a record that the key does not open is an error of its own.
func ReadRecord(s Store, run string, key []byte) ([]byte, error) {
	newest, err := newestSlot(s)
	if err != nil {
		return nil, err
	}
	if newest.run != run {
		return nil, fmt.Errorf("%w: it is of run %s", ErrNoRecord, newest.run)
	}
	seal, err := sealer(key)
	if err != nil {
		return nil, err
	}
	state, err := seal.Open(nil, newest.sealed[:seal.NonceSize()], newest.sealed[seal.NonceSize():], newest.header)
	if err != nil {
		return nil, fmt.Errorf("state of run %s on the disk: the server's key does not open it", run)
	}
	return state, nil
}

// WriteRecord puts the state of a run on the disk, durably, and leaves the record
// before it whole until then.
func WriteRecord(s Store, run string, key, state []byte) error {
	if run == "" || len(run) > maxRun {
		return fmt.Errorf("name of the run has %d bytes, want 1 to %d", len(run), maxRun)
	}
	if len(state) > MaxRecord {
		return fmt.Errorf("state of the run has %d bytes, the disk has room for %d: make variables and messages shorter", len(state), MaxRecord)
	}
	seal, err := sealer(key)
	if err != nil {
		return err
	}
	next := slot{generation: 1}
	if old, err := newestSlot(s); err == nil {
		next.index, next.generation = 1-old.index, old.generation+1
	} else if !errors.Is(err, ErrNoRecord) {
		return err
	}
	b := make([]byte, slotSize)
	copy(b, recordMagic[:])
	le := binary.LittleEndian
	le.PutUint64(b[0x10:], next.generation)
	le.PutUint32(b[0x18:], uint32(seal.NonceSize()+len(state)+seal.Overhead()))
	le.PutUint32(b[0x1c:], uint32(len(run)))
	copy(b[0x20:], run)
	nonce := b[slotHeader : slotHeader+seal.NonceSize()]
	if _, err := rand.Read(nonce); err != nil {
		return fmt.Errorf("seal the state of the run: %w", err)
	}
	sealed := seal.Seal(nonce, nonce, state, b[:0x60])
	sum := sha256.Sum256(append(bytes.Clone(b[:0x60]), sealed...))
	copy(b[0x60:], sum[:])
	// Whole pages: Windows writes to disks in sectors only.
	n := (slotHeader + len(sealed) + 4095) / 4096 * 4096
	if _, err := s.WriteAt(b[:n], recordOffset+int64(next.index)*slotSize); err != nil {
		return fmt.Errorf("write the state of the run to the disk: %w", err)
	}
	if err := s.Sync(); err != nil {
		return fmt.Errorf("write the state of the run to the disk: %w", err)
	}
	return nil
}

// EraseRecord removes the record.
func EraseRecord(s Store) error {
	if _, err := s.WriteAt(make([]byte, 2*slotSize), recordOffset); err != nil {
		return fmt.Errorf("remove the state of the run from the disk: %w", err)
	}
	return s.Sync()
}

func sealer(key []byte) (cipher.AEAD, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("key of %d bytes for the state of the run, want %d", len(key), KeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// newestSlot reads both slots and returns the whole one with the higher
// generation.
func newestSlot(s Store) (slot, error) {
	var newest slot
	found := false
	b := make([]byte, slotSize)
	for i := range 2 {
		if _, err := s.ReadAt(b, recordOffset+int64(i)*slotSize); err != nil {
			if errors.Is(err, io.EOF) {
				break // a disk that ends before
			}
			return slot{}, fmt.Errorf("read the state of a run from the disk: %w", err)
		}
		one, ok := parseSlot(b)
		if ok && (!found || one.generation > newest.generation) {
			one.index = i
			newest, found = one, true
		}
	}
	if !found {
		return slot{}, ErrNoRecord
	}
	return newest, nil
}

// parseSlot reads one slot; ok is false when it does not hold a whole record.
func parseSlot(b []byte) (s slot, ok bool) {
	le := binary.LittleEndian
	if len(b) < slotHeader || [16]byte(b) != recordMagic {
		return s, false
	}
	length, name := le.Uint32(b[0x18:]), le.Uint32(b[0x1c:])
	if uint64(length) > uint64(len(b)-slotHeader) || length < 12+16 || name == 0 || name > maxRun {
		return s, false
	}
	sealed := b[slotHeader : slotHeader+length]
	if sha256.Sum256(append(bytes.Clone(b[:0x60]), sealed...)) != [32]byte(b[0x60:0x80]) {
		return s, false
	}
	return slot{
		generation: le.Uint64(b[0x10:]), run: string(b[0x20 : 0x20+name]),
		header: bytes.Clone(b[:0x60]), sealed: bytes.Clone(sealed),
	}, true
}
