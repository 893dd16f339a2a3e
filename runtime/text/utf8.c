// SPDX-License-Identifier: MIT
/*
 * Keeps the character functions of vocab.h: UTF-8 as Unicode defines it (table
 * 3-7 of the standard), and the alphabet in which byte-level BPE spells bytes:
 * printable Latin-1 characters are themselves, the other bytes follow from U+0100.
 */
#include "vocab.h"

#include <string.h>

int utf8_char(const char *p, size_t n, uint32_t *ch)
{
	const uint8_t *s = (const uint8_t *)p;
	uint8_t low = 0x80, high = 0xBF;
	int len;

	if (!n)
		return 0;
	if (s[0] < 0x80) {
		*ch = s[0];
		return 1;
	}
	if (s[0] >= 0xC2 && s[0] <= 0xDF) {
		len = 2;
		*ch = s[0] & 0x1F;
	} else if (s[0] >= 0xE0 && s[0] <= 0xEF) {
		len = 3;
		*ch = s[0] & 0x0F;
		if (s[0] == 0xE0)
			low = 0xA0;
		if (s[0] == 0xED)
			high = 0x9F;
	} else if (s[0] >= 0xF0 && s[0] <= 0xF4) {
		len = 4;
		*ch = s[0] & 0x07;
		if (s[0] == 0xF0)
			low = 0x90;
		if (s[0] == 0xF4)
			high = 0x8F;
	} else {
		return 0;
	}
	if (n < (size_t)len)
		return 0;
	for (int i = 1; i < len; i++) {
		if (s[i] < low || s[i] > high)
			return 0;
		*ch = *ch << 6 | (s[i] & 0x3F);
		low = 0x80;
		high = 0xBF;
	}
	return len;
}

static bool is_itself(uint32_t ch)
{
	return (ch >= 0x21 && ch <= 0x7E) || (ch >= 0xA1 && ch <= 0xAC) ||
	       (ch >= 0xAE && ch <= 0xFF);
}

/* The others in order: 00..20, 7F..A0, AD. */
int byte_level_decode(uint32_t ch)
{
	if (is_itself(ch))
		return ch;
	if (ch < 0x100 || ch > 0x143)
		return -1;
	ch -= 0x100;
	if (ch <= 0x20)
		return ch;
	return ch <= 0x42 ? ch - 0x21 + 0x7F : 0xAD;
}

int byte_level_encode(uint8_t byte, char out[2])
{
	uint32_t ch = byte;

	if (!is_itself(ch)) {
		if (byte <= 0x20)
			ch = 0x100 + byte;
		else
			ch = byte == 0xAD ? 0x143 : 0x121 + byte - 0x7F;
	}
	if (ch < 0x80) {
		out[0] = ch;
		return 1;
	}
	out[0] = 0xC0 | ch >> 6;
	out[1] = 0x80 | (ch & 0x3F);
	return 2;
}
