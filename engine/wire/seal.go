package wire

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
)

// A sealed datagram has the header in the clear, then a random nonce, then the body in AES-256-GCM (NIST SP
// 800-38D) with the header as additional data, and no checksum:
//
//	header | nonce (12 bytes) | ciphertext | tag (16 bytes)
//
// Every epoch has its own key: HKDF-SHA256 (RFC 5869) of the shared key, salt the epoch, info "ctsync", the
// cluster id and the number of the sub-key, which changes every 2^31 datagrams, so that a random nonce of 96 bits stays
// unique (SP 800-38D section 8.3 allows 2^32). The key id in the header is a byte of the shared key's hash,
// so that nodes need not agree on an order of keys.

// KeySize is the length of a shared key.
const KeySize = 32

const (
	nonceLen   = 12
	tagLen     = 16
	subKeyBits = 31
	keyIDAt    = 5 // in the header
)

// SealOverhead is what sealing adds to a datagram beyond the checksum that it replaces.
const SealOverhead = nonceLen + tagLen - sumLen

// ErrForged is a sealed datagram that the key does not open.
var ErrForged = errors.New("wrong key or forged")

// ErrUnsealed is a datagram without a seal where one is required.
var ErrUnsealed = errors.New("not sealed")

// Key is one shared key.
type Key struct {
	ID     uint8 // 1 to 255
	secret [KeySize]byte
}

// NewKey makes a key of 32 random bytes.
func NewKey(secret [KeySize]byte) Key {
	sum := sha256.Sum256(secret[:])
	return Key{ID: sum[0]%255 + 1, secret: secret}
}

// aead is the cipher of one epoch's sub-key.
func (k *Key) aead(cluster string, epoch Epoch, sub uint64) (cipher.AEAD, error) {
	info := fmt.Sprintf("ctsync %s %d", cluster, sub)
	key, err := hkdf.Key(sha256.New, k.secret[:], epoch[:], info, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Cipher seals or opens the datagrams of one epoch with one key. One goroutine owns it.
type Cipher struct {
	key     Key
	cluster string
	epoch   Epoch
	random  io.Reader
	sub     uint64
	aead    cipher.AEAD
	nonce   [nonceLen]byte
}

// NewCipher makes the cipher of epoch. random gives nonces; it is needed for sealing only.
func NewCipher(k Key, cluster string, epoch Epoch, random io.Reader) *Cipher {
	return &Cipher{key: k, cluster: cluster, epoch: epoch, random: random}
}

// KeyID is the id of the cipher's key.
func (c *Cipher) KeyID() uint8 { return c.key.ID }

func (c *Cipher) at(counter uint64) error {
	if sub := counter >> subKeyBits; c.aead == nil || sub != c.sub {
		a, err := c.key.aead(c.cluster, c.epoch, sub)
		if err != nil {
			return err
		}
		c.aead, c.sub = a, sub
	}
	return nil
}

// Seal ends the datagram b, whose first headerLen bytes are the header, in place. It writes the key id.
func (c *Cipher) Seal(b []byte, headerLen int, counter uint64) ([]byte, error) {
	if err := c.at(counter); err != nil {
		return nil, err
	}
	nonce := c.nonce[:]
	if _, err := io.ReadFull(c.random, nonce); err != nil {
		return nil, err
	}
	b[keyIDAt] = c.key.ID
	body := len(b) - headerLen
	b = append(slices.Grow(b, nonceLen+tagLen), nonce...) // moves on, two lines below
	copy(b[headerLen+nonceLen:], b[headerLen:headerLen+body])
	copy(b[headerLen:], nonce)
	plain := b[headerLen+nonceLen:]
	sealed := c.aead.Seal(plain[:0], nonce, plain, b[:headerLen])
	return b[:headerLen+nonceLen+len(sealed)], nil
}

// Open gives the body of the sealed datagram b, decrypted in place.
func (c *Cipher) Open(b []byte, headerLen int, counter uint64) ([]byte, error) {
	if len(b) < headerLen+nonceLen+tagLen {
		return nil, ErrShort
	}
	if err := c.at(counter); err != nil {
		return nil, err
	}
	nonce, sealed := b[headerLen:headerLen+nonceLen], b[headerLen+nonceLen:]
	body, err := c.aead.Open(sealed[:0], nonce, sealed, b[:headerLen])
	if err != nil {
		return nil, ErrForged
	}
	return body, nil
}
