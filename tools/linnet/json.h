/* SPDX-License-Identifier: MIT */
/* JSON through jansson, written with the checks of out_write(). */
#ifndef LINNET_TOOL_JSON_H
#define LINNET_TOOL_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* A JSON string of any bytes: those that are not UTF-8 become U+FFFD. */
json_t *json_text(const char *text);
/* null for infinities and NaN, which JSON does not know. */
json_t *json_number(double v);
/* o[key] = v; takes v. Ends the program when there is no memory. */
void json_put(json_t *o, const char *key, json_t *v);
void json_add(json_t *array, json_t *v);
json_t *json_new_object(void);
json_t *json_new_array(void);
/* Write to stdout; flags as json_dumpf(). No line break is added. */
bool json_out(const json_t *j, size_t flags);
/* An object's texts and numbers as a line of CSV; before the first, a line of its keys. */
void json_csv(const json_t *o, bool first);

#endif
