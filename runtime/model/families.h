/* SPDX-License-Identifier: MIT */
/* The families' descriptions. A new family is a file with one of these, and a line in
 * families.c. */
#ifndef LINNET_MODEL_FAMILIES_H
#define LINNET_MODEL_FAMILIES_H

#include "model.h"

extern const struct linnet_family linnet_family_llama;
extern const struct linnet_family linnet_family_qwen2;
extern const struct linnet_family linnet_family_qwen3;
extern const struct linnet_family linnet_family_qwen3moe;
extern const struct linnet_family linnet_family_phi3;
extern const struct linnet_family linnet_family_gemma2;
extern const struct linnet_family linnet_family_gemma3;

#endif
