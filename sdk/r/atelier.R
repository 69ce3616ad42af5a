# What a notebook in R has of Atelier: the run's parameters, its dataset, and ways to hand results back.
#
# Reads and writes the run folder (ATELIER_RUN_DIR) like mindzie_sdk does in Python. All names are on the search path of
# an R kernel; names that begin with a dot are its own.

.atelier_folder <- function() {
  folder <- Sys.getenv("ATELIER_RUN_DIR")
  if (!nzchar(folder)) stop("not inside an Atelier run (ATELIER_RUN_DIR is not set)", call. = FALSE)
  folder
}

.atelier_run <- function() {
  path <- file.path(.atelier_folder(), "run.json")
  described <- jsonlite::fromJSON(path, simplifyDataFrame = FALSE, simplifyMatrix = FALSE)
  if (!identical(as.integer(described$schemaVersion), 1L)) {
    stop("run.json has schemaVersion ", described$schemaVersion, ", this helper reads 1", call. = FALSE)
  }
  described
}

# The parameters of this run, as a named list. Read when asked for: a kernel may be older than its run.
makeActiveBinding("parameters", function() as.list(.atelier_run()$parameters), environment())

#' The bound dataset as a data frame, or only the named columns of it.
#'
#' Times are POSIXct in UTC; integers are integer, numeric or (beyond 2^53) integer64, whichever keeps every value.
load_dataset <- function(columns = NULL) {
  dataset <- .atelier_run()$dataset
  if (is.null(dataset)) {
    stop("this run has no dataset: bind one to the notebook, or pass dataset_id when you start a run", call. = FALSE)
  }
  known <- vapply(dataset$csv$columns, `[[`, "", "name")
  class <- vapply(dataset$csv$columns, `[[`, "", "class")
  unknown <- setdiff(columns, known)
  if (length(unknown) > 0L) {
    stop("the dataset has no column '", unknown[[1L]], "': it has ", paste(known, collapse = ", "), call. = FALSE)
  }
  wanted <- if (is.null(columns)) seq_along(known) else match(columns, known)
  stored <- c(Date = "integer", POSIXct = "numeric")
  read_as <- ifelse(class %in% names(stored), stored[class], class)
  table <- data.table::fread(
    file = file.path(.atelier_folder(), dataset$csv$path), sep = ",", quote = "\"", header = TRUE, select = wanted,
    colClasses = unname(read_as), na.strings = "", encoding = "UTF-8", data.table = FALSE, showProgress = FALSE,
    strip.white = FALSE, fill = FALSE, blank.lines.skip = FALSE, integer64 = "integer64"
  )
  names(table) <- known[wanted]
  for (i in seq_along(wanted)) {
    table[[i]] <- switch(class[[wanted[[i]]]],
      Date = structure(table[[i]], class = "Date"),
      POSIXct = .POSIXct(table[[i]] / 1e6, tz = "UTC"),
      character = gsub("\"\"", "\"", table[[i]], fixed = TRUE),
      table[[i]]
    )
  }
  table
}

#' Hands back a table. Its new columns are those that the bound dataset does not have.
#'
#' A column that has no type in Parquet is saved as text, with a warning.
save_enriched_dataset <- function(df, name = "enriched_dataset") {
  name <- .atelier_name(name, "enriched dataset")
  if (!is.data.frame(df)) {
    stop("an enriched dataset must be a data frame, not ", class(df)[[1L]], call. = FALSE)
  }
  columns <- names(df)
  if (anyDuplicated(columns) > 0L) {
    stop("two columns are named '", columns[anyDuplicated(columns)], "': rename one before saving", call. = FALSE)
  }
  dataset <- .atelier_run()$dataset
  bound <- if (is.null(dataset)) list() else dataset$csv$columns
  local_times <- vapply(Filter(function(one) isTRUE(one$local), bound), `[[`, "", "name")
  converted <- lapply(seq_along(columns), function(i) .atelier_column(df[[i]], columns[[i]], columns[[i]] %in% local_times))
  written <- lapply(converted, `[[`, "written")
  names(written) <- columns
  data.table::setDT(written)
  file <- .atelier_save(name, ".csv", function(path) {
    data.table::fwrite(written, path, quote = TRUE, qmethod = "double", na = "", eol = "\n", showProgress = FALSE)
  })
  .atelier_record("enriched_dataset", name, list(
    file = file, recordCount = nrow(df), columns = I(columns),
    columnTypes = I(vapply(converted, `[[`, "", "type")),
    newColumns = I(setdiff(columns, vapply(bound, `[[`, "", "name")))
  ))
}

# A column as it is written, with the type it has in Parquet. Times are microseconds since 1970, dates are days, doubles
# are the integers of their bits: fwrite keeps 15 of their 17 digits, and making texts of them takes long.
.atelier_column <- function(values, name, is_local) {
  as <- function(type, written) list(type = type, written = written)
  if (inherits(values, "POSIXlt")) values <- as.POSIXct(values)
  if (inherits(values, "POSIXct")) {
    return(as(if (is_local) "timestamp" else "instant", bit64::as.integer64(round(as.numeric(values) * 1e6))))
  }
  if (inherits(values, "Date")) return(as("date", as.integer(floor(as.numeric(values)))))
  if (inherits(values, "integer64")) return(as("integer", values))
  if (is.factor(values)) values <- as.character(values)
  if (inherits(values, "difftime")) values <- as.numeric(values, units = "secs")
  if (is.logical(values)) return(as("boolean", as.logical(values)))
  if (is.integer(values)) return(as("integer", as.integer(values)))
  if (is.double(values)) {
    # integer64 keeps its bits in a double. Adding 0 makes 0 of -0, whose bits stand for a missing value there.
    bits <- as.vector(values) + 0
    bits[is.na(bits) & !is.nan(bits)] <- unclass(bit64::NA_integer64_)
    return(as("number", structure(bits, class = "integer64")))
  }
  if (is.character(values)) return(as("string", enc2utf8(as.vector(values))))
  warning("column '", name, "' (", class(values)[[1L]], ") is saved as text", call. = FALSE)
  if (is.list(values)) values <- vapply(values, function(one) paste(format(one), collapse = ", "), "")
  as("string", enc2utf8(as.character(values)))
}

#' Hands back a named result as JSON, at most a mebibyte; NA, NaN and infinities become null, times RFC 3339 text.
save_value <- function(name, value) {
  .atelier_record("value", .atelier_name(name, "value"), list(value = value))
}

#' Hands back an HTML report; a fragment is completed to a page.
save_report <- function(html, name = "report") {
  name <- .atelier_name(name, "report")
  html <- enc2utf8(paste(as.character(html), collapse = "\n"))
  if (!grepl("<html", substr(html, 1L, 2000L), ignore.case = TRUE)) {
    title <- gsub("<", "&lt;", gsub("&", "&amp;", name, fixed = TRUE), fixed = TRUE)
    html <- paste0(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>", title,
      "</title></head>\n<body>\n", html, "\n</body></html>\n"
    )
  }
  file <- .atelier_save(name, ".html", function(path) writeLines(html, path, useBytes = TRUE))
  .atelier_record("report", name, list(file = file, format = "html"))
}

#' Hands back a chart: a plot object (ggplot2, lattice, recordPlot()) or a function that draws. Sizes are inches.
save_figure <- function(figure, name = "figure", format = c("png", "svg"), width = 8, height = 5) {
  name <- .atelier_name(name, "figure")
  format <- match.arg(format)
  file <- .atelier_save(name, paste0(".", format), function(path) {
    if (format == "png") {
      grDevices::png(path, width = width, height = height, units = "in", res = 120, type = "cairo")
    } else {
      grDevices::svg(path, width = width, height = height)
    }
    device <- grDevices::dev.cur()
    on.exit(grDevices::dev.off(device))
    if (is.function(figure)) figure() else print(figure)
  })
  type <- if (format == "png") "image/png" else "image/svg+xml"
  .atelier_record("figure", name, list(file = file, contentType = type))
}

#' Hands back a fitted model as an RDS file, with its metrics and the names of its features.
save_model <- function(model, name = "model", metrics = list(), features = character()) {
  name <- .atelier_name(name, "model")
  file <- .atelier_save(name, ".rds", function(path) saveRDS(model, path))
  metrics <- as.list(metrics)
  accuracy <- if (is.numeric(metrics$accuracy) && length(metrics$accuracy) == 1L) metrics$accuracy
  empty <- structure(list(), names = character())
  .atelier_record("model", name, list(
    file = file, modelType = class(model)[[1L]], framework = "R", accuracy = accuracy,
    metrics = if (length(metrics) == 0L) empty else metrics, features = I(as.character(features))
  ))
}

#' Reports how far the current cell is, from 0 to 1.
progress <- function(fraction, message = "") {
  told <- list(fraction = min(max(as.numeric(fraction), 0), 1), message = as.character(message))
  IRdisplay::publish_mimebundle(list("application/vnd.atelier.progress+json" = told))
  invisible(NULL)
}

.atelier_name <- function(name, kind) {
  if (!is.character(name) || length(name) != 1L || is.na(name)) {
    stop("the name of a ", kind, " must be one text", call. = FALSE)
  }
  name <- trimws(enc2utf8(name))
  if (!nzchar(name)) stop("the name of a ", kind, " is empty", call. = FALSE)
  if (nchar(name) > 200L) stop("the name of a ", kind, " has over 200 characters", call. = FALSE)
  if (grepl("[[:cntrl:]]", name)) stop("the name of a ", kind, " has line breaks or control characters", call. = FALSE)
  name
}

# Has `write` fill a file, then shows it in outputs/ under a free name made from `name`; returns that name.
.atelier_save <- function(name, suffix, write) {
  folder <- file.path(.atelier_folder(), "outputs")
  partial <- tempfile("partial-", tmpdir = file.path(folder, ".atelier"))
  on.exit(unlink(partial))
  write(partial)
  plain <- iconv(name, "UTF-8", "ASCII//TRANSLIT", sub = "_")
  stem <- substr(gsub("^[._-]+|[._-]+$", "", gsub("[^A-Za-z0-9._-]+", "_", plain)), 1L, 80L)
  if (!nzchar(stem)) stem <- "unnamed"
  file <- paste0(stem, suffix)
  number <- 1L
  while (file.exists(file.path(folder, file))) {
    number <- number + 1L
    file <- paste0(stem, "-", number, suffix)
  }
  if (!file.rename(partial, file.path(folder, file))) stop("cannot write to the run's outputs", call. = FALSE)
  file
}

# Writes one record under the next free number. Making a folder is what claims a number: two processes cannot both.
.atelier_record <- function(kind, name, members) {
  folder <- file.path(.atelier_folder(), "outputs", ".atelier")
  created <- format(Sys.time(), "%Y-%m-%dT%H:%M:%OS3Z", tz = "UTC")
  record <- c(list(schemaVersion = 1L, kind = kind, name = name, createdAt = created), members)
  json <- jsonlite::toJSON(
    record, auto_unbox = TRUE, na = "null", null = "null", digits = NA, POSIXt = "ISO8601", UTC = TRUE, force = FALSE
  )
  size <- nchar(json, "bytes")
  if (size > 1048576) {
    stop(kind, " '", name, "' has ", size, " bytes of JSON, more than 1048576: ",
      "save a table with save_enriched_dataset instead", call. = FALSE)
  }
  taken <- as.integer(sub("\\..*", "", list.files(folder, "^[0-9]{6}\\.")))
  number <- if (length(taken) == 0L) 1L else max(taken) + 1L
  repeat {
    final <- file.path(folder, sprintf("%06d.json", number))
    claim <- file.path(folder, sprintf("%06d.partial", number))
    number <- number + 1L
    if (!dir.create(claim, showWarnings = FALSE)) next
    if (!file.exists(final)) {
      writeLines(json, file.path(claim, "record"), useBytes = TRUE)
      file.rename(file.path(claim, "record"), final)
      unlink(claim, recursive = TRUE)
      return(invisible(NULL))
    }
    unlink(claim, recursive = TRUE)
  }
}
