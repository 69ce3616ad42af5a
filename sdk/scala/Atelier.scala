package atelier

import java.awt.image.BufferedImage
import java.nio.charset.StandardCharsets.UTF_8
import java.util.{Base64, UUID}

import scala.collection.immutable.ListMap

import atelier.{RunFolder => run}
import org.apache.spark.sql.DataFrame
import org.apache.spark.sql.functions.{expr, timestamp_micros}
import org.apache.spark.sql.types.{LongType, TimestampNTZType}

/** What a notebook in Scala has of Atelier: the run's parameters, its dataset, and ways to hand results back.
  *
  * Reads and writes the run folder (ATELIER_RUN_DIR) like mindzie_sdk does in Python. Everything is imported in a Scala
  * kernel. The names with underscores are those of the other languages.
  */
object Atelier {
  /** The parameters of this run. */
  def parameters: Map[String, Any] = run.description.get("parameters") match {
    case Some(values: Map[_, _]) => values.asInstanceOf[Map[String, Any]]
    case _                       => Map.empty
  }

  /** The bound dataset. */
  def load_dataset(): DataFrame = {
    val described = run.dataset.getOrElse(throw new IllegalStateException(
      "this run has no dataset: bind one to the notebook, or pass dataset_id when you start a run"
    ))
    val table = run.session.read.parquet(run.folder.resolve(described("path").toString).toString)
    // Spark reads times of nanoseconds as numbers; it has none finer than microseconds itself.
    val times = described("columns").asInstanceOf[Seq[Map[String, Any]]].collect {
      case column if column("type") == "timestamp" => column("name").toString
    }.toSet
    table.schema.fields.filter(field => field.dataType == LongType && times(field.name)).foldLeft(table) {
      (read, field) =>
        val instant = timestamp_micros(expr(s"`${field.name.replace("`", "``")}` div 1000"))
        read.withColumn(field.name, instant.cast(TimestampNTZType))
    }
  }

  /** Hands back a table. Its new columns are those that the bound dataset does not have. */
  def save_enriched_dataset(df: DataFrame, name: String = "enriched_dataset"): Unit = {
    val checked = run.checkedName(name, "enriched dataset")
    val parts = run.outputs.resolve(s".atelier/partial-${UUID.randomUUID()}")
    try {
      df.coalesce(1).write.parquet(parts.toString)
      val part = run.list(parts).find(_.getFileName.toString.endsWith(".parquet")).getOrElse(
        throw new IllegalStateException("Spark wrote no Parquet file")
      )
      val bound = run.dataset.toSeq.flatMap(_("columns").asInstanceOf[Seq[Map[String, Any]]]).map(_("name").toString).toSet
      run.record("enriched_dataset", checked, ListMap(
        "file" -> run.show(part, checked, ".parquet"),
        "columns" -> df.columns.toSeq,
        "newColumns" -> df.columns.filterNot(bound).toSeq
      ))
    } finally run.remove(parts)
  }

  /** Hands back a named result as JSON, at most a mebibyte; NaN becomes null, times RFC 3339 text. */
  def save_value(name: String, value: Any): Unit =
    run.record("value", run.checkedName(name, "value"), ListMap("value" -> run.plain(value)))

  /** Hands back an HTML report; a fragment is completed to a page. */
  def save_report(html: String, name: String = "report"): Unit = {
    val checked = run.checkedName(name, "report")
    val page =
      if (html.take(2000).toLowerCase.contains("<html")) html
      else s"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>${run.escape(checked)}</title></head>
<body>
$html
</body></html>
"""
    run.record("report", checked, ListMap("file" -> run.save(page.getBytes(UTF_8), checked, ".html"), "format" -> "html"))
  }

  /** Hands back a chart: SVG text. */
  def save_figure(svg: String, name: String): Unit = {
    val checked = run.checkedName(name, "figure")
    val file = run.save(svg.getBytes(UTF_8), checked, ".svg")
    run.record("figure", checked, ListMap("file" -> file, "contentType" -> "image/svg+xml"))
  }

  /** Hands back a chart: a picture, as PNG. */
  def save_figure(picture: BufferedImage, name: String): Unit = {
    val checked = run.checkedName(name, "figure")
    run.record("figure", checked, ListMap("file" -> run.save(run.png(picture), checked, ".png"), "contentType" -> "image/png"))
  }

  /** Shows HTML below the cell. */
  def show_html(html: String): Unit = run.display("text/html", html)

  /** Shows a chart, as SVG text, below the cell. */
  def show_svg(svg: String): Unit = run.display("image/svg+xml", svg)

  /** Shows a picture below the cell. */
  def show_image(picture: BufferedImage): Unit =
    run.display("image/png", Base64.getEncoder.encodeToString(run.png(picture)))

  /** Shows the first rows of a table below the cell. */
  def show_table(df: DataFrame, rows: Int = 20): Unit = {
    val head = df.columns.map(name => s"<th>${run.escape(name)}</th>").mkString
    val body = df.take(rows).map { row =>
      row.toSeq.map(value => s"<td>${run.escape(String.valueOf(value))}</td>").mkString("<tr>", "", "</tr>")
    }.mkString("\n")
    show_html(s"""<table class="dataframe"><thead><tr>$head</tr></thead><tbody>$body</tbody></table>""")
  }

  /** Reports how far the current cell is, from 0 to 1. */
  def progress(fraction: Double, message: String = ""): Unit = run.display(
    "application/vnd.atelier.progress+json", run.json.writeValueAsString(Map("fraction" -> fraction, "message" -> message))
  )

  def loadDataset(): DataFrame = load_dataset()
  def saveEnrichedDataset(df: DataFrame, name: String = "enriched_dataset"): Unit = save_enriched_dataset(df, name)
  def saveValue(name: String, value: Any): Unit = save_value(name, value)
  def saveReport(html: String, name: String = "report"): Unit = save_report(html, name)
}
