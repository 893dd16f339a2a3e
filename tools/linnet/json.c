// SPDX-License-Identifier: MIT
/* Keeps json.h. */
#include "json.h"
#include "tool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static json_t *checked(json_t *j)
{
	if (!j) {
		tool_error("out of memory (JSON)");
		exit(TOOL_FAILED);
	}
	return j;
}

/* Length of the well-formed UTF-8 character at s (n > 0 bytes), 0 if it is none. */
static size_t utf8_char(const unsigned char *s, size_t n)
{
	size_t len = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 :
		     s[0] < 0xf5 ? 4 : 0;

	if (!len || len > n)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* overlong, surrogates, above U+10FFFF */
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90))
		return 0;
	return len;
}

json_t *json_text(const char *text)
{
	size_t n = strlen(text), at = 0;
	char *buf = tool_alloc(3 * n + 1);
	json_t *j;

	for (size_t i = 0; i < n;) {
		size_t len = utf8_char((const unsigned char *)text + i, n - i);

		memcpy(buf + at, len ? text + i : "\xef\xbf\xbd", len ? len : 3);
		at += len ? len : 3;
		i += len ? len : 1;
	}
	j = json_stringn(buf, at);
	free(buf);
	return checked(j);
}

json_t *json_number(double v)
{
	return checked(isfinite(v) ? json_real(v) : json_null());
}

void json_put(json_t *o, const char *key, json_t *v)
{
	if (json_object_set_new(o, key, checked(v)))
		checked(NULL);
}

void json_add(json_t *array, json_t *v)
{
	if (json_array_append_new(array, checked(v)))
		checked(NULL);
}

json_t *json_new_object(void)
{
	return checked(json_object());
}

json_t *json_new_array(void)
{
	return checked(json_array());
}

static int write_part(const char *text, size_t n, void *ctx)
{
	return out_write(text, n) ? 0 : -1;
}

bool json_out(const json_t *j, size_t flags)
{
	if (!json_dump_callback(j, write_part, NULL, flags))
		return true;
	/* What stdout refused is remembered there; jansson needs memory, too. */
	if (out_flush())
		checked(NULL);
	return false;
}

static void print_csv_text(const char *text)
{
	out_write("\"", 1);
	for (; *text; text++)
		out_write(*text == '"' ? "\"\"" : text, *text == '"' ? 2 : 1);
	out_write("\"", 1);
}

/* Keys on the first line; the lists of samples are for JSON alone. */
void json_csv(const json_t *o, bool first)
{
	const char *key, *comma;
	json_t *v;

	for (int row = first ? 0 : 1; row < 2; row++) {
		comma = "";
		json_object_foreach((json_t *)o, key, v) {
			char number[32];

			if (json_is_array(v))
				continue;
			out_printf("%s", comma);
			comma = ",";
			if (row == 0) {
				out_printf("%s", key);
				continue;
			}
			if (json_is_integer(v))
				snprintf(number, sizeof(number), "%lld",
					 (long long)json_integer_value(v));
			else if (json_is_real(v))
				snprintf(number, sizeof(number), "%f", json_real_value(v));
			else
				number[0] = '\0';	/* null */
			print_csv_text(json_is_string(v) ? json_string_value(v) : number);
		}
		out_printf("\n");
	}
}
