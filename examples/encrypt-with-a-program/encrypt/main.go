// Command encrypt is the program of an example: a JSON object a line in, one a line out, in the same order. It encrypts
// deterministically (AES-GCM with a nonce made from the text), so that a row which is done again stays as it is.
package main

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
)

// keyID names the key in use. A real program takes both from a key service.
const keyID = 7

var key = []byte("an example's key of 32 bytes....")

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "encrypt:", err)
		os.Exit(1)
	}
}

func run() error {
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for in.Scan() {
		var row struct {
			ID  json.Number `json:"id"`
			SSN string      `json:"ssn"`
		}
		if err := json.Unmarshal(in.Bytes(), &row); err != nil {
			return err
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(row.SSN))
		sealed := gcm.Seal(nil, mac.Sum(nil)[:gcm.NonceSize()], []byte(row.SSN), nil)
		if err := out.Encode(map[string]any{"id": row.ID, "ssn_encrypted": sealed, "ssn_key_id": keyID}); err != nil {
			return err
		}
	}
	return in.Err()
}
