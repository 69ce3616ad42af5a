package atelier

import java.awt.image.BufferedImage
import java.io.ByteArrayOutputStream
import java.nio.file.{FileAlreadyExistsException, Files, Path, Paths, StandardCopyOption}
import java.text.Normalizer
import java.time.Instant
import java.time.temporal.ChronoUnit
import java.util.UUID
import javax.imageio.ImageIO

import scala.collection.JavaConverters._
import scala.collection.immutable.ListMap

import com.fasterxml.jackson.databind.ObjectMapper
import com.fasterxml.jackson.module.scala.DefaultScalaModule
import org.apache.spark.sql.{DataFrame, Row, SparkSession}
import org.apache.toree.kernel.api.KernelLike

/** The run folder as the helper reads and writes it; apart from the helper, whose names notebooks import. */
private[atelier] object RunFolder {
  var kernel: Option[KernelLike] = None

  val json = new ObjectMapper().registerModule(DefaultScalaModule)
  val MaxRecordBytes = 1024 * 1024
  val MaxNameCharacters = 200

  def folder: Path = Paths.get(sys.env.getOrElse(
    "ATELIER_RUN_DIR", throw new IllegalStateException("not inside an Atelier run (ATELIER_RUN_DIR is not set)")
  ))
  def outputs: Path = folder.resolve("outputs")
  def session: SparkSession = SparkSession.builder().getOrCreate()

  def description: Map[String, Any] = {
    val described = json.readValue(folder.resolve("run.json").toFile, classOf[Map[String, Any]])
    val version = described.getOrElse("schemaVersion", "no")
    if (version != 1) throw new IllegalStateException(s"run.json has schemaVersion $version, this helper reads 1")
    described
  }

  def dataset: Option[Map[String, Any]] = description.get("dataset").collect { case one: Map[_, _] =>
    one.asInstanceOf[Map[String, Any]]
  }

  def display(contentType: String, data: String): Unit = kernel.foreach(_.display.content(contentType, data))

  def png(picture: BufferedImage): Array[Byte] = {
    val bytes = new ByteArrayOutputStream
    ImageIO.write(picture, "png", bytes)
    bytes.toByteArray
  }

  def escape(text: String): String =
    text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\"", "&quot;")

  /** A value as Jackson writes it the way the other languages do. */
  def plain(value: Any): Any = value match {
    case null | None                              => null
    case Some(inner)                              => plain(inner)
    case number: Double                           => if (number.isNaN || number.isInfinite) null else number
    case number: Float                            => plain(number.toDouble)
    case row: Row if row.schema != null           => ListMap(row.schema.fieldNames.zip(row.toSeq.map(plain)): _*)
    case row: Row                                 => row.toSeq.map(plain)
    case table: DataFrame @unchecked              => table.collect().toSeq.map(plain)
    case entries: scala.collection.Map[_, _]      => ListMap(entries.toSeq.map { case (k, v) => s"$k" -> plain(v) }: _*)
    case entries: java.util.Map[_, _]             => plain(entries.asScala)
    case items: Array[_]                          => items.toSeq.map(plain)
    case items: scala.collection.Iterable[_]      => items.toSeq.map(plain)
    case items: java.lang.Iterable[_]             => items.asScala.toSeq.map(plain)
    case time: java.sql.Timestamp                 => time.toInstant.toString
    case text: String                             => text
    case flag: Boolean                            => flag
    case number: BigInt                           => number.bigInteger
    case number: BigDecimal                       => number.bigDecimal
    case number: java.lang.Number                 => number
    case other: Product if other.productArity > 0 => other.productIterator.map(plain).toSeq
    case other                                    => other.toString
  }

  def checkedName(name: String, kind: String): String = {
    val stripped = Option(name).getOrElse("").trim
    if (stripped.isEmpty) throw new IllegalArgumentException(s"the name of a $kind is empty")
    if (stripped.length > MaxNameCharacters)
      throw new IllegalArgumentException(s"the name of a $kind has over $MaxNameCharacters characters")
    if (stripped.exists(_.isControl))
      throw new IllegalArgumentException(s"the name of a $kind has line breaks or control characters")
    stripped
  }

  def save(bytes: Array[Byte], name: String, suffix: String): String = {
    val partial = outputs.resolve(s".atelier/partial-${UUID.randomUUID()}")
    Files.write(partial, bytes)
    show(partial, name, suffix)
  }

  /** Moves a finished file to a free name in outputs/, made from `name`; returns that name. */
  def show(file: Path, name: String, suffix: String): String = {
    val ascii = Normalizer.normalize(name, Normalizer.Form.NFKD).replaceAll("[^\\x00-\\x7f]", "")
    val stem = ascii.replaceAll("[^A-Za-z0-9._-]+", "_").replaceAll("^[._-]+|[._-]+$", "").take(80)
    val base = if (stem.isEmpty) "unnamed" else stem
    val names = Iterator.single(s"$base$suffix") ++ Iterator.from(2).map(number => s"$base-$number$suffix")
    val free = names.find { candidate =>
      try { Files.createFile(outputs.resolve(candidate)); true }
      catch { case _: FileAlreadyExistsException => false }
    }.get
    Files.move(file, outputs.resolve(free), StandardCopyOption.REPLACE_EXISTING)
    free
  }

  /** Writes one record under the next free number. Making a folder is what claims a number. */
  def record(kind: String, name: String, members: ListMap[String, Any]): Unit = synchronized {
    val records = outputs.resolve(".atelier")
    val created = Instant.now.truncatedTo(ChronoUnit.MILLIS).toString
    val all = ListMap[String, Any]("schemaVersion" -> 1, "kind" -> kind, "name" -> name, "createdAt" -> created) ++ members
    val bytes = json.writeValueAsBytes(all)
    if (bytes.length > MaxRecordBytes)
      throw new IllegalArgumentException(
        s"$kind '$name' has ${bytes.length} bytes of JSON, more than $MaxRecordBytes: " +
          "save a table with save_enriched_dataset instead"
      )
    val taken = list(records).map(_.getFileName.toString).collect {
      case entry if entry.matches("\\d{6}\\..*") => entry.take(6).toInt
    }
    val first = if (taken.isEmpty) 1 else taken.max + 1
    Iterator.from(first).find { number =>
      val claim = records.resolve(f"$number%06d.partial")
      val last = records.resolve(f"$number%06d.json")
      try {
        Files.createDirectory(claim)
        if (Files.exists(last)) { Files.delete(claim); false }
        else {
          Files.write(claim.resolve("record"), bytes)
          Files.move(claim.resolve("record"), last, StandardCopyOption.ATOMIC_MOVE)
          Files.delete(claim)
          true
        }
      } catch { case _: FileAlreadyExistsException => false }
    }
    ()
  }

  def list(directory: Path): Seq[Path] = {
    val entries = Files.newDirectoryStream(directory)
    try entries.asScala.toList
    finally entries.close()
  }

  def remove(directory: Path): Unit = if (Files.isDirectory(directory)) {
    list(directory).foreach(entry => if (Files.isDirectory(entry)) remove(entry) else Files.delete(entry))
    Files.delete(directory)
  }
}
